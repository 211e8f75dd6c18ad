"""Class-balanced loss."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="class-balanced",
    title="Class-balanced loss",
    summary="Cross entropy weighted by the inverse effective number of images of each class.",
    paper="Cui et al. 2019, Eq. 8",
    loss=Piece("losses", "ClassBalancedLoss"),
    order=13,
)
