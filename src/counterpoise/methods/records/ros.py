"""Random oversampling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="ros",
    title="Random oversampling",
    summary="Rare classes are drawn again until all classes are as large as the largest.",
    paper="thesis, section 3.1.1; Buda et al. 2018",
    sampler=Piece("samplers", "ROS"),
    order=20,
)
