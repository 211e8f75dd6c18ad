"""Over- and undersampling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="bl-ros-rus",
    title="Over- and undersampling",
    summary="Large classes are cut and small ones repeated until they meet at the mean class size.",
    paper="thesis, section 3.1.3 (BL+ROS-RUS); Buda et al. 2018",
    sampler=Piece("samplers", "ROSRUS"),
    order=22,
)
