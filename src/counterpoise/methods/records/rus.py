"""Random undersampling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="rus",
    title="Random undersampling",
    summary="Each epoch draws from every class only as many images as the smallest has.",
    paper="thesis, section 3.1.2; Buda et al. 2018",
    sampler=Piece("samplers", "RUS"),
    order=21,
)
