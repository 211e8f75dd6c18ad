"""Weight vectors of like length."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="tau-norm",
    title="Tau-normalised head",
    summary="Plain training; then each class vector of the head is divided by its length to the power tau.",
    paper="Kang et al. 2020, Eq. 4",
    head=Piece("heads", "NormalisedHead"),
    order=61,
)
