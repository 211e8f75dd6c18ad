"""Two-phase training."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="two-phase",
    title="Two-phase training",
    summary="The network learns from undersampled classes; then its head is tuned on all images.",
    paper="Havaei et al. 2017; Buda et al. 2018, section 2.3",
    sampler=Piece("samplers", "RUS"),
    head=Piece("heads", "FineTunedHead"),
    order=23,
)
