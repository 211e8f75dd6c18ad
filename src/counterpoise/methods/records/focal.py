"""Focal loss."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="focal",
    title="Focal loss",
    summary="Cross entropy that weighs images less the better they are classified, and rare classes more.",
    paper="thesis, section 3.2.1; Lin et al. 2017, Eq. 5",
    loss=Piece("losses", "FocalLoss", {"alpha": "inverse"}),
    order=12,
)
