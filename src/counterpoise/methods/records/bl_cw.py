"""Class weights."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="bl-cw",
    title="Class weights",
    summary="Cross entropy weighted by the inverse share of each class.",
    paper="thesis, Algorithm 2 and Eq. 4.1 (BL+CW)",
    loss=Piece("losses", "WeightedCrossEntropy"),
    order=10,
)
