"""The thesis's network for small colour images."""

from counterpoise.networks.record import NetworkRecord

RECORD = NetworkRecord(
    name="convnet",
    description="Two 5x5 convolutions (20, 50), dense 500 and 120: the thesis's network for colour images.",
    paper="thesis, section 6.2",
    build="counterpoise.networks.convnet:ConvNet",
    default_for="images up to 48x48",
    smallest_image=16,
    order=2,
)
