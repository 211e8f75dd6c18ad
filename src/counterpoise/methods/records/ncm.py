"""Nearest class mean."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="ncm",
    title="Nearest class mean",
    summary="Plain training; then an image belongs to the class whose mean embedding is nearest.",
    paper="Kang et al. 2020, section 4.2 (NCM)",
    head=Piece("heads", "NearestMeanHead"),
    order=63,
)
