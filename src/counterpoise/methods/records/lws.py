"""Learnable weight scaling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="lws",
    title="Learnable weight scaling",
    summary="Plain training; then one factor per class is learned on embeddings drawn class-balanced.",
    paper="Kang et al. 2020, Eq. 5 (LWS)",
    head=Piece("heads", "ScaledHead"),
    head_sampler=Piece("samplers", "ClassBalancedSampler"),
    order=62,
)
