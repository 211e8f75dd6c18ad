"""The residual network for CIFAR."""

from counterpoise.networks.record import NetworkRecord

RECORD = NetworkRecord(
    name="resnet32",
    description="32 layers in three stages of five residual blocks (16, 32, 64), identity shortcuts.",
    paper="He et al. 2016, section 4.2",
    build="counterpoise.networks.resnet32:ResNet32",
    smallest_image=4,
    order=3,
)
