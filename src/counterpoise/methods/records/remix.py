"""Remix."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="remix",
    title="Remix",
    summary="As mixup, but a mixed image of a rare and a frequent class is labelled as the rare one.",
    paper="Chou et al. 2020, Eq. 4-6",
    perturb=Piece("perturb", "Remix"),
    order=28,
)
