"""The recommended recipe; how it was chosen: docs/recipe.md."""

from counterpoise.methods.piece import Piece
from counterpoise.methods.record import Method

METHOD = Method(
    name="counterpoise",
    title="Counterpoise",
    summary="Square-root sampling of shifted, turned and adversarial images; then the head is tuned for balance.",
    paper="this project, docs/recipe.md; of the poster, Kang et al. 2020, Ren et al. 2020, Smith and Topin 2018",
    # Rare images often enough to shape the embedding, frequent ones often enough not to be forgotten.
    sampler=Piece(
        "samplers", "ClassBalancedSampler", {"power": 0.5, "length": "oversampled", "replacement": False}
    ),
    # The same few rare images, rarely twice the same; a quarter of all images stay as they are.
    augment=Piece("perturb", "RandomAffine", {"p": 0.75}),
    # Where a dozen images are all there is, the hardest neighbours of each.
    perturb=Piece("perturb", "AOS"),
    # The head goes on from where it is, less sure of itself, on the images as they are, and learns what a balanced
    # world looks like.
    head=Piece("heads", "FineTunedHead", {"lr_factor": 0.5, "shrink": 0.3}),
    head_loss=Piece("losses", "BalancedSoftmax"),
    # A few epochs are enough only if the rate rises and falls within them.
    schedule="one-cycle",
    order=90,
)
