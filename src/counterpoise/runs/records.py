"""Typed records of what stands in a run folder: ``run.json``, ``metrics.json`` and the smaller files beside them.

Unknown keys are kept, so that a newer version may add some; ``raw`` is the JSON value as it was read, for writing back.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from counterpoise.config import Fit
from counterpoise.exceptions import RunFolderError

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(False)]
"""JSON list, read as a tuple."""
Count = Annotated[int, Field(ge=0)]
Pair = Annotated[tuple[int, int], Strict(False)]
ScoreTable = dict[str, float | None]
"""Metric -> value; None where it is undefined."""

FINISHED = "complete"
"""``status`` of a finished run; any other, or none, is that of an unfinished one."""
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}")


class Record(BaseModel):
    """JSON object of a run folder, checked on reading."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_raw(cls, value: Any, handler: Any) -> Self:
        record: Self = handler(value)
        if isinstance(value, dict):
            record._raw = value
        return record

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON object as it was read."""
        return self._raw


class SkippedRecord(Record):
    """Image that could not be read."""

    path: str
    reason: str


class DatasetRecord(Record):
    """Dataset of a run; images were cropped before there was a choice, and `contents` was added later."""

    classes: Annotated[tuple[str, ...], Strict(False), Field(min_length=2)]
    fingerprint: str
    minority: Items[Count]
    name: str = ""
    source: str = ""
    channels: int = 3
    image_size: Pair | None = None
    fit: Fit = "crop"
    contents: str | None = None
    value_range: Pair | None = None
    counts: dict[str, Items[Count] | None] = {}
    skipped: Items[SkippedRecord] = ()

    @model_validator(mode="after")
    def _fit_the_classes(self) -> Self:
        size = len(self.classes)
        if any(index >= size for index in self.minority):
            raise ValueError(f"a minority class is not one of the {size} classes")
        if any(counts is not None and len(counts) != size for counts in self.counts.values()):
            raise ValueError(f"counts do not have one number for each of the {size} classes")
        return self


class NetworkRecord(Record):
    """Network of a run; ``raw`` is what it is rebuilt from."""

    name: str
    num_classes: int
    in_channels: int
    image_size: Pair
    mean: Items[float]
    std: Items[float]
    parameters: int | None = None
    head: dict[str, Any] = {}
    options: dict[str, Any] = {}


class ImbalanceRecord(Record):
    """Imbalance profile; ``ratio`` is None for the natural one."""

    profile: str
    ratio: float | None = None


class FreezeEvidenceRecord(Record):
    """Class-balanced validation log loss by which ``freeze`` "auto" chose; None without validation images."""

    frozen: float | None = None
    fine_tuned: float | None = None


class StartRecord(Record):
    """Weights that training started from, where published ones are from, and the layers that stayed frozen.

    `evidence` is that of a choice by the validation images.
    """

    weights: str | None = None
    weights_hash: str | None = None
    freeze: int | str | None = None
    origin: str | None = None
    license: str | None = None
    evidence: FreezeEvidenceRecord | None = None


class AdjustRecord(Record):
    """Fitted adjustment of the logits; ``raw`` is its state."""

    name: str
    options: dict[str, Any]
    learned: dict[str, Any]


class AdjustedFromRecord(Record):
    """Trained run that an adjusted one is of."""

    run: str
    config_hash: str
    method: str
    method_title: str


class EnhanceRecord(Record):
    """Part of a variant's record in an enhancement study; `noise`: network -> standard deviation -> accuracy."""

    method: str
    classifier: str
    classifier_run: str
    frozen: bool
    history: Items[dict[str, Any]] = Field(default=(), alias="copy")
    train_confusion: dict[str, list[list[Count]]] | None = None
    noise: dict[str, dict[str, float]] = {}


class RunRecord(Record):
    """``run.json`` of a finished run."""

    dataset: DatasetRecord
    network: NetworkRecord
    method: Annotated[str, Field(min_length=1)]
    config_hash: str
    imbalance: ImbalanceRecord
    draw: Count
    seed: int
    created: str
    timings: dict[str, float]
    versions: dict[str, str]
    hardware: dict[str, Any]
    version: str = ""
    manifest_hash: str = ""
    method_title: str = ""
    method_options: dict[str, Any] = {}
    start: StartRecord = StartRecord()
    adjust: AdjustRecord | None = None
    adjusted_from: AdjustedFromRecord | None = None
    penalties: dict[str, float] = {}
    training: dict[str, Any] = {}
    enhance: EnhanceRecord | None = None

    @property
    def title(self) -> str:
        """Name of the method for people."""
        return self.method_title or self.method


class ClassScores(Record):
    """Counts and scores of one class against the others."""

    __pydantic_extra__: dict[str, float | None]
    name: str = ""
    support: Count | None = None
    tp: Count | None = None
    fp: Count | None = None
    fn: Count | None = None
    tn: Count | None = None

    def score(self, metric: str) -> float | None:
        """Return a score; None where it is undefined or the file does not have it."""
        return (self.__pydantic_extra__ or {}).get(metric)


class Scores(Record):
    """Scores of one split, as `counterpoise.evaluation.evaluate` returns them.

    `independent` is the number of independent images of each class where images come in groups.
    """

    all: ScoreTable
    majority: ScoreTable | None = None
    minority: ScoreTable | None = None
    per_class: Items[ClassScores]
    confusion_matrix: Items[Items[Count]]
    flags: Items[str] = ()
    independent: Items[float] = ()

    def score(self, metric: str, classes: str = "all") -> float | None:
        """Return a score of a group of classes; None where it is undefined or the file does not have it."""
        group: ScoreTable | None = getattr(self, classes)
        return None if group is None else group.get(metric)

    @model_validator(mode="after")
    def _fit_each_other(self) -> Self:
        size = len(self.per_class)
        if {len(self.confusion_matrix), *map(len, self.confusion_matrix)} != {size}:
            raise ValueError(f"the confusion matrix is not {size} x {size}, as 'per_class' is")
        return self


class RunMetrics(Record):
    """``metrics.json``: None for a split without images."""

    test: Scores | None = None
    validation: Scores | None = None


class TransferRecord(Record):
    """Finished training of a transfer study, on one line of the archive; `identity` is that of the study."""

    identity: str
    draw: Count
    treatment: Literal["baseA", "baseB", "BnB", "BnB+", "AnB", "AnB+"]
    layers: Count
    images: dict[str, Count]
    scores: Scores
    seconds: float
    versions: dict[str, str]
    hardware: dict[str, Any]


class HistoryEntry(Record):
    """One epoch."""

    stage: str = "train"
    epoch: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    validation_balanced_loss: float | None = None
    validation_accuracy: float | None = None
    validation_gmean: float | None = None
    selected: bool = False


class EmbeddingMap(Record):
    """``embedding.json``: points of a two-dimensional map, with class indices."""

    projection: str = ""
    x: Items[float | None]
    y: Items[float | None]
    label: Items[Count]
    kind: Items[str]

    @model_validator(mode="after")
    def _equal_length(self) -> Self:
        if len({len(self.x), len(self.y), len(self.label), len(self.kind)}) > 1:
            raise ValueError("x, y, label and kind are not of equal length")
        return self


def picture_or_none(value: str | None) -> str | None:
    """Return a picture written into a data URI, else None: no address, script or SVG must reach an ``<img>``."""
    return value if isinstance(value, str) and _PICTURE.fullmatch(value) else None


class Mistake(Record):
    """Wrongly classified image: class indices, probability of the prediction, data URI of a small picture."""

    path: str = ""
    true: Count
    predicted: Count
    probability: float | None = None
    image: Annotated[str | None, AfterValidator(picture_or_none)] = None


class FailureRecord(Record):
    """``failure.json``: why a run failed."""

    type: str
    text: str
    traceback: str
    seconds: float


_OBJECT, _LIST = "JSON object", "list"
_EXPECTED = {"model_type": _OBJECT, "dict_type": _OBJECT, "list_type": _LIST, "tuple_type": _LIST}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse(kind: type[T], value: Any, path: object, *, remedy: str = "train again") -> T:
    """Return a JSON value as a record; damage raises RunFolderError with the file and the first fault."""
    try:
        record: T = _adapter(kind).validate_python(value)  # type: ignore[arg-type]
        return record
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        if fault["type"] == "missing":
            problem = f"it lacks {place!r}"
        elif fault["type"] in _EXPECTED:
            problem = f"{place or 'it'} is not a {_EXPECTED[fault['type']]}"
        else:
            text = fault["msg"].removeprefix("Value error, ")
            problem = f"{place}: {text}" if place else text
        raise RunFolderError(f"{path} is damaged: {problem}; {remedy}") from error
