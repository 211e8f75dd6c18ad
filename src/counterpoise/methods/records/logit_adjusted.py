"""Logit adjustment."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="logit-adjusted",
    title="Logit adjustment",
    summary="Plain training; afterwards the log class shares are taken off the logits.",
    paper="Menon et al. 2021, Eq. 9 (post hoc)",
    adjust=Piece("adjust", "LogitAdjustment"),
    order=50,
)
