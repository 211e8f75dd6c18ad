"""ADOS."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="ados",
    title="ADOS",
    summary="Adaptive dynamic oversampling in deep feature space, then a new head with sample weights.",
    paper="thesis, section 4.2, Algorithms 3-5",
    loss=Piece("losses", "WeightedCrossEntropy"),
    features=Piece("features", "ADOS"),
    order=31,
)
