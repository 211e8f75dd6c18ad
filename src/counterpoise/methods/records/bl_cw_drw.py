"""Deferred class weights."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="bl-cw-drw",
    title="Deferred class weights",
    summary="Plain training first; cross entropy with class weights in the last fifth of the epochs.",
    paper="Cao et al. 2019, Algorithm 1 (DRW)",
    loss=Piece("losses", "WeightedCrossEntropy", {"normalize": "mean", "defer_epochs": 0.8}),
    order=11,
)
