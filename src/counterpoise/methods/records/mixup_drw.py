"""Mixup with deferred re-weighting."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="mixup-drw",
    title="Mixup, deferred weights",
    summary="Images and labels are mixed in pairs; class weights hold in the last fifth of the epochs.",
    paper="Zhang et al. 2018, section 2; Cao et al. 2019, section 3.3",
    perturb=Piece("perturb", "Mixup"),
    loss=Piece("losses", "WeightedCrossEntropy", {"normalize": "mean", "defer_epochs": 0.8}),
    order=27,
)
