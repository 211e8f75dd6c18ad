"""Class thresholds."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="thresholds",
    title="Class thresholds",
    summary="Plain training; afterwards a threshold for each class is tuned on the validation images.",
    paper="Buda et al. 2018 (thresholding); Narasimhan et al. 2015",
    adjust=Piece("adjust", "ClassThresholds"),
    order=51,
)
