"""VGG-16 with a narrow top."""

from counterpoise.networks.record import NetworkRecord

RECORD = NetworkRecord(
    name="vgg16",
    description="Thirteen 3x3 convolutions in five blocks, the last ones trainable; dense 1024.",
    paper="thesis, section 6.3; Simonyan and Zisserman 2015",
    build="counterpoise.networks.vgg16:VGG16",
    smallest_image=32,
    order=4,
)
