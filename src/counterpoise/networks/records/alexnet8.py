"""Eight learned layers after AlexNet."""

from counterpoise.networks.record import NetworkRecord

RECORD = NetworkRecord(
    name="alexnet8",
    description="Five convolutions (32 to 96 channels), dense 256 twice: AlexNet's eight layers, sized for the input.",
    paper="lecture, transfer learning; Krizhevsky et al. 2012",
    build="counterpoise.networks.alexnet8:AlexNet8",
    smallest_image=8,
    order=5,
)
