"""The thesis's network for small grey images."""

from counterpoise.networks.record import NetworkRecord

RECORD = NetworkRecord(
    name="lenet",
    description="Two 5x5 convolutions (6, 16), dense 120: the thesis's network for grey images.",
    paper="thesis, section 6.1; LeCun et al. 1998",
    build="counterpoise.networks.lenet:LeNet",
    default_for="grey images up to 32x32",
    smallest_image=12,
    order=1,
)
