"""SMOTE on pixels."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="smote-pixels",
    title="SMOTE on pixels",
    summary="New images of small classes between two images of the class, pixel by pixel, made once before training.",
    paper="poster, section Related methods; Chawla et al. 2002",
    sampler=Piece("samplers", "PixelSMOTE"),
    order=26,
)
