"""Classifier re-training."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="crt",
    title="Classifier re-training",
    summary="Plain training; then a new head is trained on embeddings drawn class-balanced.",
    paper="Kang et al. 2020, section 4.1 (cRT)",
    head=Piece("heads", "NewHead"),
    head_sampler=Piece("samplers", "ClassBalancedSampler"),
    order=60,
)
