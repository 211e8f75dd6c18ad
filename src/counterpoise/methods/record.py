"""The record of a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.methods.piece import Piece, pieces_in

# The places where a method can act, in the order of the data flow, and the folder of balance/ whose pieces fit there.
PLACES: dict[str, str] = {
    "sampler": "samplers",
    "augment": "perturb",
    "perturb": "perturb",
    "loss": "losses",
    "objective": "objectives",
    "features": "features",
    "head": "heads",
    "head_sampler": "samplers",
    "head_loss": "losses",
    "adjust": "adjust",
}

# What a method says besides its pieces, and the values it can have.
CHOICES: dict[str, tuple[str, ...]] = {
    "head_layer": ("linear", "one-vs-rest", "cosine"),
    "schedule": ("constant", "cosine", "one-cycle"),
}

# Where something must act.
NEEDED = ("loss", "head_loss")
# What acts while a head is trained on embeddings.
HEAD_PLACES = ("head_sampler", "head_loss")

CROSS_ENTROPY = Piece("losses", "CrossEntropy")
NEW_HEAD = Piece("heads", "NewHead")


@dataclass(frozen=True, kw_only=True)
class Method:
    """Which piece acts at which place, with defaults and its paper.

    The network is trained under `loss`. With a `head` (or `features`, which bring a new head) two more stages follow
    (thesis, section 4.2): the training set is embedded, and grown by `features`; the head is made or trained
    on these embeddings.

    Parameters
    ----------
    name : str
        As typed by users and written to results.
    title : str
        As shown in tables and figures.
    summary : str
        One sentence: what it does.
    paper : str
        Where it is from.
    sampler : Piece, optional
        Which images an epoch holds. Default: each image once.
    augment : Piece, optional
        A random change of every image of a batch.
    perturb : Piece, optional
        A change of a batch's images that looks at their classes or at the network; after `augment`.
    loss : Piece
        What is minimised while the whole network is trained.
    objective : Piece, optional
        What is minimised in place of the loss of a batch's logits, given `loss`.
    features : Piece, optional
        New points in deep feature space.
    head : Piece, optional
        What becomes of the head once the network is trained. Default: nothing; with `features`, a new one.
    head_sampler : Piece, optional
        Which embeddings an epoch of the head's training holds. Default: each once.
    head_loss : Piece
        What is minimised while the head is trained on embeddings.
    adjust : Piece, optional
        What is done to the logits after training.
    head_layer : {"linear", "one-vs-rest", "cosine"}
        What kind of head the network has.
    schedule : {"constant", "cosine", "one-cycle"}
        The course of the learning rate, where the user does not say.
    order : int
        Where it stands in lists: by family, baselines first.
    spec : str
        The name together with the options that were changed, as typed; empty for the plain record.
    """

    name: str
    title: str
    summary: str
    paper: str
    sampler: Piece | None = None
    augment: Piece | None = None
    perturb: Piece | None = None
    loss: Piece = CROSS_ENTROPY
    objective: Piece | None = None
    features: Piece | None = None
    head: Piece | None = None
    head_sampler: Piece | None = None
    head_loss: Piece = CROSS_ENTROPY
    adjust: Piece | None = None
    head_layer: str = "linear"
    schedule: str = "constant"
    order: int = 100
    spec: str = ""

    def __post_init__(self) -> None:
        if self.features is not None and self.head is None:
            object.__setattr__(self, "head", NEW_HEAD)

    @property
    def label(self) -> str:
        """What identifies the method in results: its name, and the options that were changed."""
        return self.spec or self.name

    @property
    def places(self) -> dict[str, Piece]:
        """The places where the method acts, in the order of the data flow."""
        unused = () if self.trains_head else HEAD_PLACES
        pieces = {place: getattr(self, place) for place in PLACES if place not in unused}
        return {place: piece for place, piece in pieces.items() if piece is not None}

    @property
    def trains_head(self) -> bool:
        """Whether a head is trained on embeddings."""
        if self.head is None:
            return False
        head_stage: Any = self.head.load()
        return bool(head_stage.trains)

    def options(self) -> dict[str, Any]:
        """Return every option of every piece as ``place.option``, and each place's piece by name."""
        values: dict[str, Any] = {choice: getattr(self, choice) for choice in CHOICES}
        for place, piece in self.places.items():
            values[place] = piece.name
            values |= {f"{place}.{option}": value for option, value in piece.defaults().items()}
        return values

    def identity(self) -> dict[str, Any]:
        """Return what the method's results depend on, as plain JSON."""
        choices = {choice: getattr(self, choice) for choice in CHOICES}
        return choices | {place: piece.identity() for place, piece in self.places.items()}

    def with_option(self, key: str, value: Any) -> Method:
        """Return a copy with one option changed.

        Parameters
        ----------
        key : str
            A place (``loss``; the value is then the name of a piece that fits there, or ``none``), ``schedule`` or
            ``head_layer``, an option (``nu_max``), or, where two pieces share its name, both
            (``head_loss.label_smoothing``).
        value : Any
            The new value.

        Raises
        ------
        UnknownNameError
            If there is no such place, option or piece.
        InputError
            If two pieces have an option of that name.
        """
        if key in PLACES:
            return self._with_piece(key, value)
        if key in CHOICES:
            if value not in CHOICES[key]:
                raise UnknownNameError(key, str(value), CHOICES[key])
            return _replace(self, key, value)
        place, _, option = key.rpartition(".")
        candidates = {p: piece for p, piece in self.places.items() if not place or p == place}
        owners = [p for p, piece in candidates.items() if option in piece.defaults()]
        if not owners:
            known = [*PLACES, *CHOICES, *(o for piece in candidates.values() for o in piece.defaults())]
            raise UnknownNameError(f"option of {self.name}", key, set(known))
        if len(owners) > 1:
            choices = " or ".join(f"{owner}.{option}" for owner in owners)
            raise InputError(f"option {key!r} of {self.name} is ambiguous: write {choices}")
        owner = owners[0]
        return _replace(self, owner, self.places[owner].with_option(option, value))

    def _with_piece(self, place: str, name: str) -> Method:
        if place in HEAD_PLACES and not self.trains_head:
            raise InputError(f"method {self.name!r} trains no separate head; {place} does not apply")
        if name is None or name == "none":
            if place in NEEDED:
                raise InputError(
                    f"method {self.name!r} needs a {place}; name one of {', '.join(pieces_in('losses'))}"
                )
            return _replace(self, place, None)
        known = pieces_in(PLACES[place])
        if name not in known:
            raise UnknownNameError(place, str(name), known)
        return _replace(self, place, Piece(PLACES[place], known[name]))


def _replace(method: Method, field: str, value: Any) -> Method:
    changes: Mapping[str, Any] = {field: value}
    return replace(method, **changes)
