"""Label-distribution-aware margins with deferred re-weighting."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="ldam-drw",
    title="LDAM-DRW",
    summary="Margins that are larger for rare classes, on angles; class weights in the last fifth of the epochs.",
    paper="Cao et al. 2019, Eq. 12-13 and Algorithm 1",
    loss=Piece("losses", "LDAMLoss", {"defer_epochs": 0.8}),
    head_layer="cosine",
    order=45,
)
