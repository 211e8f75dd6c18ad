"""Balanced softmax."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="balanced-softmax",
    title="Balanced softmax",
    summary="Cross entropy on logits raised by the log of the class counts.",
    paper="Ren et al. 2020, Eq. 4",
    loss=Piece("losses", "BalancedSoftmax"),
    order=40,
)
