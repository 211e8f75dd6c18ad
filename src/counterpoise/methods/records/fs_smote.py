"""SMOTE in feature space."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="fs-smote",
    title="SMOTE in feature space",
    summary="SMOTE on the embeddings of a trained network, then a new head.",
    paper="thesis, section 3.1.4 and chapter 7 (SMOTE); Chawla et al. 2002",
    loss=Piece("losses", "WeightedCrossEntropy"),
    features=Piece("features", "FSSMOTE"),
    order=30,
)
