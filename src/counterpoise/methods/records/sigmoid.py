"""One class against the rest."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="sigmoid",
    title="One class against the rest",
    summary="Binary cross entropy of each class's sigmoid; the most probable class, or thresholds, decide.",
    paper='lecture, "Sigmoid"',
    loss=Piece("losses", "SigmoidCrossEntropy"),
    adjust=Piece("adjust", "SigmoidScores"),
    # Each sigmoid starts at 1 / C, not at one half.
    head_layer="one-vs-rest",
    order=15,
)
