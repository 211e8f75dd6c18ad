"""Finished runs are found again: every hash that was published is computed from its record."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import counterpoise
from counterpoise.config import TrainConfig
from counterpoise.files import content_hash
from counterpoise.methods import get_method
from counterpoise.runs import (
    SplitPayload,
    VariantPayload,
    comparison_identity,
    network_payload,
    run_identity,
    training_payload,
    transfer_identity,
)

ROOT = Path(__file__).resolve().parents[1]
TABLES = sorted((ROOT / "results").glob("*-[0-9]*/runs.jsonl"))
TRAINING = TrainConfig(epochs=1, batch_size=8, seed=7)
SPLIT = SplitPayload(
    profile={"profile": "natural"},
    validation_fraction=0.1,
    test_fraction=0.2,
    minority_ratio=2.0,
    manifest_hash=None,
)


def recomputed(record):
    """The identity of a run of the papers' protocol, which holds out no validation images, from its record alone."""
    training = TrainConfig(**record["training"])
    split = SPLIT | {"profile": record["imbalance"], "validation_fraction": 0.0}
    if record["dataset"]["name"] == "mnist-rb":  # the ten variants of an image stay together
        split |= {"groups": content_hash(np.repeat(np.arange(12_000), 10).tolist())}
    return run_identity(
        fingerprint=record["dataset"]["fingerprint"],
        image_size=record["dataset"]["image_size"],
        split=split,
        network=record["network"]["name"],
        training=training_payload(training),
        weights_hash=record["start"]["weights_hash"],
        new_head=False,
        freeze=record["start"]["freeze"],
        repeat=record["draw"],
        method=record["method"],
        components=get_method(record["method"]).identity(),
    )


@pytest.mark.parametrize("archive", TABLES, ids=lambda path: path.parent.name)
def test_every_published_hash_follows_from_its_record(archive):
    records = [json.loads(line)["record"] for line in archive.read_text().splitlines()]
    assert len(records) >= 25
    assert [r["config_hash"] for r in records] == [recomputed(r) for r in records]


@pytest.mark.parametrize("archive", TABLES, ids=lambda path: path.parent.name)
def test_the_archives_hold_all_published_runs(archive):
    summary = json.loads(archive.with_name("summary.json").read_text())
    assert len(archive.read_text().splitlines()) == summary["runs"]["done"]


@pytest.mark.skipif(
    not (ROOT / "results" / "lecture-transfer").is_dir(), reason="the study is not published yet"
)
def test_the_hashes_of_the_transfer_study_follow_from_its_settings():
    """Its images are those of the thesis's table of CIFAR-10, whose runs hold their fingerprint."""
    folder = ROOT / "results" / "lecture-transfer"
    images = json.loads((ROOT / "results/thesis-7.3/runs.jsonl").open().readline())["record"]["dataset"]
    studies = json.loads((folder / "summary.json").read_text())["studies"].values()
    expected = {
        transfer_identity(
            fingerprint=images["fingerprint"],
            image_size=images["image_size"],
            split=study["split"],
            network=study["network"],
            test_fraction=0.2,
            source_images_per_class=study["images_per_class"]["A"],
            images_per_class=study["images_per_class"]["B"],
            training=training_payload(TrainConfig(**study["training"])),
        )
        for study in studies
    }
    records = [json.loads(line) for line in (folder / "runs.jsonl").open()]
    assert {record["identity"] for record in records} == expected


PLAIN = {
    "fingerprint": "f0",
    "image_size": (8, 8),
    "split": SPLIT,
    "network": "tinynet",
    "training": training_payload(TRAINING),
    "weights_hash": None,
    "new_head": False,
    "freeze": None,
}
VARIANT = VariantPayload(
    arm="enhanced",
    classifier="bl",
    width=2,
    copy_epochs=1,
    enhance_epochs=3,
    frozen=True,
    epochs=3,
)


def run_of(**changes):
    return run_identity(**PLAIN, repeat=1, method="bl", components=get_method("bl").identity(), **changes)


# Computed by the version that wrote format 1, from a plan with these settings.
RECORDED = {
    "run": "490d6e0ca133e790542f1f0718bd5cd207423f4c7d9eaddc7a31583853ad2f8f",
    "variant": "0c27e1b805af3d2a5e9ce700cb0e65955bf7fb2f41d464736372228e6617a3d0",
    "comparison": "8096142a6f2c80d8e16cdd79aaaba6dd0a8979f3fb0a83b2bc289c38c7e64174",
    "transfer": "a05378c41d0bac0b3f3c84ce3dcc0c0aded3284c7d55dac17ed5c854f2fefc7d",
    "network settings": "2dd5eb1cef70240c54047df7e30b28ea057e37d79ab186981f56d83fc54762ae",
}


def test_identities_are_those_of_the_version_that_wrote_format_1():
    assert {
        "run": run_of(),
        "variant": run_of(variant=VARIANT),
        "comparison": comparison_identity(**PLAIN),
        "transfer": transfer_identity(
            fingerprint="f0",
            image_size=(8, 8),
            split="random",
            network="tinynet",
            test_fraction=0.2,
            source_images_per_class=None,
            images_per_class=30,
            training=training_payload(TRAINING),
        ),
        "network settings": content_hash(network_payload(TRAINING)),
    } == RECORDED


@pytest.mark.parametrize(
    "setting", ["fingerprint", "image_size", "network", "weights_hash", "new_head", "freeze"]
)
def test_every_setting_of_a_run_changes_its_identity(setting):
    other = {
        "fingerprint": "f1",
        "image_size": (8, 9),
        "network": "lenet",
        "weights_hash": "w",
        "new_head": True,
    }
    changed = PLAIN | {setting: other.get(setting, "all")}
    assert comparison_identity(**changed) != comparison_identity(**PLAIN)


def test_fit_enters_an_identity_only_where_images_are_not_cropped():
    assert comparison_identity(**PLAIN, fit="crop") == RECORDED["comparison"]
    assert run_of(fit="crop") == RECORDED["run"]
    assert len({comparison_identity(**PLAIN, fit=fit) for fit in ("crop", "pad", "stretch")}) == 3


@pytest.mark.parametrize("field", sorted(training_payload(TRAINING)))
def test_every_training_setting_is_part_of_the_identity(field):
    assert set(training_payload(TRAINING)) <= set(TrainConfig.model_fields)
    training = training_payload(TRAINING) | {field: "another value"}
    assert comparison_identity(**PLAIN | {"training": training}) != comparison_identity(**PLAIN)


#: Words that seeds are made of (`crc32`): a changed one changes every number that is random.
SEED_WORDS = {
    "baseA", "baseB", "calibration", "copy order", "curve", "enhance", "fold head", "folds", "head", "head order",
    "images", "map", "map sample", "network", "new head", "noise", "objective", "order", "oversample", "penalty",
    "perturb", "prototypes", "rest", "tasks", "torch", "unet",
}  # fmt: skip


def test_the_words_that_seeds_are_made_of_stay():
    words = set()
    for path in Path(counterpoise.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("generator_for", "seed_for"):
                words |= {
                    a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
                }
    assert words <= SEED_WORDS
    assert {"network", "head", "oversample", "map", "unet"} <= words
