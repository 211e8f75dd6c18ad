"""Adversarial oversampling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="aos",
    title="AOS",
    summary="Random oversampling; in every batch some minority images become adversarial examples.",
    paper="poster, Algorithm 1",
    sampler=Piece("samplers", "ROS"),
    perturb=Piece("perturb", "AOS"),
    order=25,
)
