"""A small network for thumbnails."""

from counterpoise.networks.record import NetworkRecord

RECORD = NetworkRecord(
    name="tinynet",
    description="Two 3x3 convolutions (16, 32), dense 64: for thumbnails.",
    paper="none; two blocks in the manner of LeCun et al. 1998",
    build="counterpoise.networks.tinynet:TinyNet",
    default_for="images below 16x16",
    smallest_image=4,
    order=0,
)
