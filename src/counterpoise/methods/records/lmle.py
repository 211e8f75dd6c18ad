"""Large margin local embedding."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="lmle",
    title="LMLE",
    summary="Margins between clusters, classes and their neighbours in the embedding; the nearest cluster centre wins.",
    paper="Huang et al. 2016; thesis, section 3.3.1",
    sampler=Piece("samplers", "ClassBalancedSampler"),
    objective=Piece("objectives", "LMLE"),
    order=33,
)
