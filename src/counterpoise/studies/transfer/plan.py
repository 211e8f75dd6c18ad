"""Plan of a transfer study: its trainings, and everything that their numbers depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from counterpoise.config import SplitConfig, TrainConfig, TransferConfig
from counterpoise.datasets import ImageDataset
from counterpoise.exceptions import InputError
from counterpoise.networks import create_network, is_chain, learned_layers
from counterpoise.runs import training_payload, transfer_identity
from counterpoise.studies.transfer.tasks import TaskImages, read_layers, task_images
from counterpoise.training import Tasks, draw_tasks, make_fabric, resolve_split

#: The lecture's names, in the order of its text: layers of B or A, frozen or (+) fine-tuned, then trained on B.
TREATMENTS = ("BnB", "BnB+", "AnB", "AnB+")
BASES = ("baseA", "baseB")
TrainingRecord = dict[str, Any]
"""Record of a finished training; ``scores`` are those of `counterpoise.evaluation.evaluate` on test images."""


class Training(NamedTuple):
    """One training: of a base, or of a network whose first `layers` layers are those of a base."""

    repeat: int
    treatment: str
    layers: int = 0

    @property
    def target(self) -> str:
        """Task of the training images."""
        return self.treatment[4] if self.is_base else "B"

    @property
    def is_base(self) -> bool:
        """Whether it is trained from scratch."""
        return self.treatment in BASES

    @property
    def is_frozen(self) -> bool:
        """Whether the copied layers are frozen."""
        return not self.is_base and not self.treatment.endswith("+")

    @property
    def name(self) -> str:
        """Name in the lecture.

        Examples
        --------
        >>> Training(0, "AnB+", 3).name, Training(0, "baseB").name
        ('A3B+', 'baseB')
        """
        return self.treatment if self.is_base else self.treatment.replace("n", str(self.layers))

    @property
    def base(self) -> Training:
        """Training of the network that the copied layers come from."""
        return Training(self.repeat, f"base{self.treatment[0]}")

    @property
    def file_name(self) -> str:
        """Unique name for its files."""
        return f"draw{self.repeat:03d}-{self.name}"


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """Transfer study of networks whose first n `layers` are copied.

    `split` defines the two tasks, see `draw_tasks`. Repeat r has the seed ``config.seed + r`` for the tasks, their
    images and the trainings. `images_per_class` are the training images of each class of the target B,
    `source_images_per_class` those of the source A; None: all. `test_fraction` is held out where the dataset has no
    test split, and `groups` is a digest of the groups of images.
    """

    source: str
    fingerprint: str
    image_size: tuple[int, int]
    split: str
    layers: tuple[int, ...]
    repeats: tuple[int, ...]
    network: str
    images_per_class: int | None
    source_images_per_class: int | None
    config: TrainConfig
    test_fraction: float = 0.2
    fit: str = "crop"
    contents: str | None = None
    groups: str | None = None
    command: str = ""

    @property
    def cells(self) -> list[Training]:
        """Every training: the bases of all repeats, then, repeat by repeat, what starts from them."""
        bases = [Training(repeat, base) for repeat in self.repeats for base in BASES]
        return bases + [
            Training(repeat, treatment, n)
            for repeat in self.repeats
            for n in self.layers
            for treatment in TREATMENTS
        ]

    def seed(self, repeat: int) -> int:
        """Return the seed of a repeat."""
        return self.config.seed + repeat

    def tasks(self, repeat: int, classes: Sequence[str]) -> Tasks:
        """Return the two tasks of a repeat."""
        return draw_tasks(self.split, classes, seed=self.seed(repeat))

    def images(self, dataset: ImageDataset, repeat: int, task: str) -> TaskImages:
        """Return the images of task ``"A"`` or ``"B"`` in a repeat."""
        per_class = self.source_images_per_class if task == "A" else self.images_per_class
        return task_images(
            dataset,
            self.tasks(repeat, dataset.classes).classes(task),
            per_class=per_class,
            test_fraction=self.test_fraction,
            seed=self.seed(repeat),
        )

    @property
    def identity(self) -> str:
        """Hash of what all trainings share; layers and repeats may be added later."""
        return transfer_identity(
            fingerprint=self.fingerprint,
            image_size=self.image_size,
            split=self.split,
            network=self.network,
            test_fraction=self.test_fraction,
            source_images_per_class=self.source_images_per_class,
            images_per_class=self.images_per_class,
            training=training_payload(self.config),
            fit=self.fit,
            groups=self.groups,
        )


def make_transfer_plan(dataset: ImageDataset, config: TransferConfig, *, command: str = "") -> TransferPlan:
    """Resolve the settings of a transfer study; InputError refuses what cannot work before anything is written."""
    for name in ("images_per_class", "source_images_per_class"):
        if getattr(config, name) == 1:
            raise InputError(f"`{name}` 1: at least 2 images of each class are needed")
    drawn = resolve_split(SplitConfig(test_fraction=config.test_fraction), dataset)
    split = config.task_split
    plan = TransferPlan(
        source=config.data.source or dataset.name,
        fingerprint=dataset.fingerprint,
        contents=dataset.contents,
        image_size=dataset.image_size,
        fit=dataset.fit,
        split="".join(split.split()) if split.strip() in ("random", "natural") else split,
        layers=read_layers(config.layers),
        repeats=tuple(range(config.repeats)),
        network=config.backbone,
        images_per_class=config.images_per_class or None,
        source_images_per_class=config.source_images_per_class or None,
        config=config.train.resolved(),
        command=command,
        test_fraction=drawn.test_fraction,
        groups=drawn.groups,
    )
    make_fabric(plan.config)
    # Both tasks and the network of the first repeat can be made.
    _, target = (plan.images(dataset, plan.repeats[0], task) for task in "AB")
    network = create_network(
        plan.network,
        num_classes=len(target.classes),
        in_channels=dataset.channels,
        image_size=dataset.image_size,
        seed=0,
    )
    if not is_chain(network):
        raise InputError(
            f"`backbone` {plan.network} is no chain of layers and cannot be cut; use alexnet8, convnet, lenet or vgg16"
        )
    most = len(learned_layers(network))
    if plan.layers[-1] > most:
        raise InputError(
            f"`layers` {plan.layers[-1]}: {plan.network} has {most} learned layers below its head; give 1 to {most}"
        )
    return plan
