"""Cost-sensitive training."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="cost-sensitive",
    title="Cost-sensitive training",
    summary="Minimises what mistakes cost, by a cost matrix; by default they cost more on rare classes.",
    paper="thesis, section 3.2.2",
    loss=Piece("losses", "ExpectedCostLoss"),
    order=14,
)
