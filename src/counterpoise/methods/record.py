"""The record of a method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.methods.piece import Piece, pieces_in

# The places where a method can act, and the folder of balance/ whose pieces fit there.
PLACES: dict[str, str] = {
    "sampler": "samplers",
    "loss": "losses",
    "features": "features",
    "head_loss": "losses",
    "adjust": "adjust",
}


CROSS_ENTROPY = Piece("losses", "CrossEntropy")


@dataclass(frozen=True, kw_only=True)
class Method:
    """Which piece acts at which place, with defaults and its paper.

    A method with a `features` piece is trained in the three stages of the thesis (section 4.2): the network learns
    a representation under `loss`; the training set is embedded and grown by `features`; a new head is trained
    on the grown set under `head_loss` with the sample weights that `features` gives. Any other method
    is trained in one stage under `loss`.

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
    loss : Piece
        What is minimised while the whole network is trained.
    features : Piece, optional
        New points in deep feature space.
    head_loss : Piece
        What is minimised while the new head is trained; used with `features` only.
    adjust : Piece, optional
        What is done to the logits after training.
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
    loss: Piece = CROSS_ENTROPY
    features: Piece | None = None
    head_loss: Piece = CROSS_ENTROPY
    adjust: Piece | None = None
    order: int = 100
    spec: str = ""

    @property
    def label(self) -> str:
        """What identifies the method in results: its name, and the options that were changed."""
        return self.spec or self.name

    @property
    def places(self) -> dict[str, Piece]:
        """The places where the method acts, in the order of the data flow."""
        unused = () if self.features else ("head_loss",)
        pieces = {place: getattr(self, place) for place in PLACES if place not in unused}
        return {place: piece for place, piece in pieces.items() if piece is not None}

    def options(self) -> dict[str, Any]:
        """Return every option of every piece as ``place.option``, and each place's piece by name."""
        values: dict[str, Any] = {}
        for place, piece in self.places.items():
            values[place] = piece.name
            values |= {f"{place}.{option}": value for option, value in piece.defaults().items()}
        return values

    def with_option(self, key: str, value: Any) -> Method:
        """Return a copy with one option changed.

        Parameters
        ----------
        key : str
            A place (``loss``; the value is then the name of a piece that fits there), an option
            (``nu_max``), or, where two pieces share its name, both (``head_loss.label_smoothing``).
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
        place, _, option = key.rpartition(".")
        candidates = {p: piece for p, piece in self.places.items() if not place or p == place}
        owners = [p for p, piece in candidates.items() if option in piece.defaults()]
        if not owners:
            known = [*PLACES, *(o for piece in candidates.values() for o in piece.defaults())]
            raise UnknownNameError(f"option of {self.name}", key, set(known))
        if len(owners) > 1:
            choices = " or ".join(f"{owner}.{option}" for owner in owners)
            raise InputError(f"option {key!r} of {self.name} is ambiguous: write {choices}")
        owner = owners[0]
        return _replace_piece(self, owner, self.places[owner].with_option(option, value))

    def _with_piece(self, place: str, name: str) -> Method:
        if place == "head_loss" and self.features is None:
            raise InputError(f"method {self.name!r} trains no separate head; head_loss does not apply")
        if name == "none" and place in ("sampler", "adjust"):
            return _replace_piece(self, place, None)
        known = pieces_in(PLACES[place])
        if name not in known:
            raise UnknownNameError(place, str(name), known)
        return _replace_piece(self, place, Piece(PLACES[place], known[name]))


def _replace_piece(method: Method, place: str, piece: Piece | None) -> Method:
    changes: Mapping[str, Any] = {place: piece}
    return replace(method, **changes)
