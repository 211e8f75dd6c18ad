"""Class-balanced sampling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="class-balanced-sampling",
    title="Class-balanced sampling",
    summary="Each image of a batch is of a class drawn at random; an epoch stays as long.",
    paper="Kang et al. 2020, Eq. 1 with q = 0",
    sampler=Piece("samplers", "ClassBalancedSampler"),
    order=24,
)
