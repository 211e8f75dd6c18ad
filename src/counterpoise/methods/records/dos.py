"""Deep oversampling."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="dos",
    title="DOS",
    summary="A rare image stands for many points among its neighbours' embeddings, and is drawn towards them.",
    paper="Ando and Huang 2017; thesis, section 3.3.2",
    objective=Piece("objectives", "DOS"),
    order=32,
)
