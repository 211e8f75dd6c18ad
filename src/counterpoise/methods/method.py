"""Record of a method: which component fills which slot, with which options."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from counterpoise.balance import SLOT_CATALOGS
from counterpoise.config import SCHEDULES
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.files import check_file

# Arguments that training passes to a component that asks for them by name; never a user's option.
CONTEXT = (
    "class_counts",
    "class_names",
    "epochs",
    "mean",
    "minority_classes",
    "n_jobs",
    "random_state",
    "reduction",
    "std",
)

# The slots of a method in the order of the data flow, and the folder of balance/ with the components that fit.
SLOTS: dict[str, str] = {
    "sampler": "samplers",
    "augment": "perturb",
    "perturb": "perturb",
    "loss": "losses",
    "objective": "objectives",
    "step": "steps",
    "features": "features",
    "head": "heads",
    "head_sampler": "samplers",
    "head_loss": "losses",
    "adjust": "adjust",
}

# Settings of a method besides its components, and their values.
CHOICES: dict[str, tuple[str, ...]] = {
    "head_layer": ("linear", "one-vs-rest", "cosine", "experts", "unit-length"),
    "schedule": SCHEDULES.names,
}

NEEDED = ("loss", "head_loss")  # slots that are never empty
HEAD_SLOTS = ("head_sampler", "head_loss")  # slots that are used while a head is trained on embeddings


@dataclass(frozen=True)
class Component:
    """Component of a folder of ``counterpoise.balance`` that fills a slot of a method, and its options.

    `options` are keyword arguments of the class that differ from its own defaults.

    Examples
    --------
    >>> Component("losses", "balanced-softmax").load().__name__
    'BalancedSoftmax'
    """

    folder: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> type:
        """Import and return the class."""
        return SLOT_CATALOGS[self.folder][self.name].load()

    def defaults(self) -> dict[str, Any]:
        """Return every option with the value that the component will be built with."""
        parameters = _parameters(self.load())
        values = {name: p.default for name, p in parameters.items() if name not in CONTEXT}
        return values | dict(self.options)

    @property
    def added_options(self) -> Mapping[str, Any]:
        """Options that are younger than finished runs, and the values with which they change nothing."""
        return getattr(self.load(), "added_options", {})

    def settings(self) -> dict[str, Any]:
        """Return the options that results depend on: all, without `added_options` that change nothing."""
        added = self.added_options
        return {k: value for k, value in self.defaults().items() if k not in added or value != added[k]}

    def identity(self) -> dict[str, Any]:
        """Return what the component's results depend on: its settings, and the content of a file that one names."""
        contents = {
            f"content of {option}": hashlib.sha256(check_file(value).read_bytes()).hexdigest()
            for option, value in self.options.items()
            if isinstance(value, str) and Path(value).is_file()
        }
        return {"name": self.name, **self.settings(), **contents}

    def with_option(self, option: str, value: Any) -> Component:
        """Return a copy with one option set; an unknown one raises UnknownNameError."""
        known = self.defaults()
        if option not in known:
            raise UnknownNameError(f"option of {self.name}", option, known)
        return replace(self, options={**self.options, option: value})

    def build(self, **context: Any) -> Any:
        """Return an instance, given those entries of `context` that its constructor asks for, or raise InputError."""
        accepted = _parameters(self.load())
        arguments = {name: value for name, value in context.items() if name in accepted}
        try:
            return self.load()(**arguments, **self.options)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name} cannot be built with {dict(self.options)}: {error}") from error


CROSS_ENTROPY = Component("losses", "cross-entropy")
NEW_HEAD = Component("heads", "new-head")


@dataclass(frozen=True)
class Method:
    """Components in slots, with defaults and the paper they are from.

    The network is trained under `loss`. With a `head` (or `features`, which bring a new head) two more stages follow
    (thesis, section 4.2): the training set is embedded, and oversampled by `features`; the head is replaced or trained
    on these embeddings. `spec` is the name together with the options that were changed, as typed; empty for a plain
    record. `helps` and `hurts` say when to use the method, where that differs from the advice of its component.
    """

    name: str
    title: str
    summary: str
    paper: str
    _: KW_ONLY
    sampler: Component | None = None  # images of an epoch; default: each image once
    augment: Component | None = None  # random change of every image of a batch
    perturb: Component | None = None  # change that depends on classes or network; after `augment`
    loss: Component = CROSS_ENTROPY  # while the whole network is trained
    objective: Component | None = None  # replaces the loss of a batch's logits, given `loss`
    step: Component | None = None  # at which weights the gradient of a step is taken
    features: Component | None = None  # synthetic samples in deep feature space
    head: Component | None = None  # what happens to the head once the network is trained
    head_sampler: Component | None = None  # embeddings of an epoch of the head's training; default: each once
    head_loss: Component = CROSS_ENTROPY  # while the head is trained on embeddings
    adjust: Component | None = None  # change of the logits after training
    head_layer: str = "linear"
    schedule: str = "constant"  # course of the learning rate, unless the user sets one
    spec: str = ""
    helps: str = ""
    hurts: str = ""

    def __post_init__(self) -> None:
        if self.features is not None and self.head is None:
            object.__setattr__(self, "head", NEW_HEAD)

    @property
    def label(self) -> str:
        """Identifier of the method in results: its name, and the options that were changed."""
        return self.spec or self.name

    @property
    def components(self) -> dict[str, Component]:
        """The filled slots, in the order of the data flow."""
        unused = () if self.trains_head else HEAD_SLOTS
        filled = {slot: getattr(self, slot) for slot in SLOTS if slot not in unused}
        return {slot: component for slot, component in filled.items() if component is not None}

    @property
    def trains_head(self) -> bool:
        """Whether a head is trained on embeddings."""
        head_stage: Any = None if self.head is None else self.head.load()
        return head_stage is not None and bool(head_stage.trains)

    def options(self) -> dict[str, Any]:
        """Return every option of every component as ``slot.option``, and each slot's component by name."""
        return self._options(Component.defaults)

    def settings(self) -> dict[str, Any]:
        """Return the options that results depend on, see :meth:`Component.settings`."""
        return self._options(Component.settings)

    def _options(self, of: Callable[[Component], Mapping[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {choice: getattr(self, choice) for choice in CHOICES}
        for slot, component in self.components.items():
            values[slot] = component.name
            values |= {f"{slot}.{option}": value for option, value in of(component).items()}
        return values

    def identity(self) -> dict[str, Any]:
        """Return what the method's results depend on, as plain JSON."""
        choices = {choice: getattr(self, choice) for choice in CHOICES}
        return choices | {slot: component.identity() for slot, component in self.components.items()}

    def with_option(self, key: str, value: Any) -> Method:
        """Return a copy with one option changed.

        `key` is a slot (``loss``; the value is then the name of a component that fits, or ``none``), ``schedule`` or
        ``head_layer``, an option (``nu_max``), or, where two components share its name, both
        (``head_loss.label_smoothing``).

        An unknown one raises UnknownNameError, an ambiguous option InputError.
        """
        if key in SLOTS:
            return self._with_component(key, value)
        if key in CHOICES:
            if value not in CHOICES[key]:
                raise UnknownNameError(key, str(value), CHOICES[key])
            return _replace(self, key, value)
        slot, _, option = key.rpartition(".")
        candidates = {s: component for s, component in self.components.items() if not slot or s == slot}
        owners = [s for s, component in candidates.items() if option in component.defaults()]
        if not owners:
            options = (known for component in candidates.values() for known in component.defaults())
            raise UnknownNameError(f"option of {self.name}", key, {*SLOTS, *CHOICES, *options})
        # What is typed keeps its meaning when a second component gets an option of that name.
        owners = [s for s in owners if option not in candidates[s].added_options] or owners
        if len(owners) > 1:
            choices = " or ".join(f"{owner}.{option}" for owner in owners)
            raise InputError(f"option {key!r} of {self.name} is ambiguous: write {choices}")
        return _replace(self, owners[0], candidates[owners[0]].with_option(option, value))

    def _with_component(self, slot: str, name: str) -> Method:
        if slot in HEAD_SLOTS and not self.trains_head:
            raise InputError(f"method {self.name!r} trains no separate head; {slot} does not apply")
        known = SLOT_CATALOGS[SLOTS[slot]].names
        if name is None or name == "none":
            if slot in NEEDED:
                raise InputError(f"method {self.name!r} needs a {slot}; name one of {', '.join(known)}")
            return _replace(self, slot, None)
        if name not in known:
            raise UnknownNameError(slot, str(name), known)
        return _replace(self, slot, Component(SLOTS[slot], name))


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(cls).parameters.items() if p.kind is not p.VAR_KEYWORD}


def _replace(method: Method, field: str, value: Any) -> Method:
    changes: Mapping[str, Any] = {field: value}
    return replace(method, **changes)
