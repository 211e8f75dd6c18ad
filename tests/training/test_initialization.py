"""Starting from another run or a file, freezing layers, and the embeddings of a network frozen whole."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from counterpoise.config import CompareConfig
from counterpoise.datasets import dataset_from_arrays, make_splits
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.inference import evaluate_run, load_network
from counterpoise.networks import create_network, freeze, learned_layers
from counterpoise.studies import ComparisonStudy, make_grid, run_study
from counterpoise.training import execute_run
from counterpoise.training import predict as prediction
from counterpoise.training.initialization import choose_freeze, read_freeze
from counterpoise.training.predict import body_hash, embedded_splits

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
    assert study_of(other, weights=first.path).notes == (
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


def test_the_lectures_rule():
    assert choose_freeze(1_000_000, 1_000) == (
        None,
        "fine-tuned: 1,000 training images for 1,000,000 transferred parameters, 1,000 for each image (at most 1,000)",
    )
    frozen, why = choose_freeze(1_001_000, 1_000)
    assert frozen == "all"
    assert why.startswith(
        "frozen: 1,000 training images for 1,001,000 transferred parameters, 1,001 for each image"
    )


def test_auto_counts_training_images_and_parameters_below_the_head(first, others):
    study = study_of(others, weights=first.path, freeze="auto")
    network = load_network(first)
    below = sum(p.numel() for layer in learned_layers(network) for p in layer.parameters)
    train_images = 68 - round(0.1 * 20) * 2 - 1 - 2
    assert study.template.freeze is None
    assert f"{train_images} training images for {below:,} transferred parameters" in study.notes[-1]


def test_auto_freezes_for_few_images(first, make_images):
    few = blobs(make_images, [4, 4], 3, ["ant", "bee"])
    study = study_of(few, weights=first.path, freeze="auto", validation_fraction=0)
    assert study.template.freeze == "all"
    assert study.notes[-1].startswith("frozen: 8 training images")


# --- frozen whole -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory):
    """Weights of a timm network, as they come from elsewhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = timm.create_model("test_resnet", pretrained=False, num_classes=7)
    for _ in range(2):
        source.train()(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(source.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def colours():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 30, 10])
    images = generator.integers(0, 120, (80, 3, 32, 32)).astype(np.uint8)
    images[np.arange(80), labels, 8:24, 8:24] += 100
    tests = np.repeat([0, 1, 2], 8)
    test_images = generator.integers(0, 120, (24, 3, 32, 32)).astype(np.uint8)
    test_images[np.arange(24), tests, 8:24, 8:24] += 100
    return dataset_from_arrays(
        images,
        labels,
        classes=["red", "green", "blue"],
        name="colours",
        test_images=test_images,
        test_labels=tests,
    )


METHODS = "bl,bl-cw,balanced-softmax,fs-smote,ados,crt,tau-norm,logit-adjusted"


@pytest.mark.filterwarnings("ignore:.*start untrained")
def test_a_comparison_embeds_every_image_once(colours, timm_file, tmp_path, monkeypatch):
    calls = []
    real = prediction.embed_images

    def count(network, split, **options):
        calls.append(len(split))
        return real(network, split, **options)

    monkeypatch.setattr(prediction, "embed_images", count)
    options = {"backbone": "test_resnet", "weights": timm_file, "freeze": "all", "repeats": 2}
    study = study_of(colours, METHODS, **options)
    result = run_study(ComparisonStudy(study, colours), tmp_path / "out")
    assert result.summary["failed"] == []
    assert calls == [80, 24]
    assert [path.suffix for path in sorted((tmp_path / "out/cache").iterdir())] == [".lock", ".safetensors"]
    run_study(ComparisonStudy(study_of(colours, "ros", **options), colours), tmp_path / "out")
    assert calls == [80, 24]
    for outcome in result.outcomes[:8]:
        folder = outcome.result
        source = {
            f"backbone.{name}": tensor
            for name, tensor in load_file(timm_file).items()
            if not name.startswith("fc.")
        }
        saved = weights_of(folder)
        assert all(torch.equal(saved[name], tensor) for name, tensor in source.items())
        # The scores from the cache are those of the saved model on the images.
        fresh = evaluate_run(folder, colours, device="cpu").scores
        assert fresh["confusion_matrix"] == folder.metrics.raw["test"]["confusion_matrix"]


def embed(dataset, cache, network=None, **changes):
    network = network or create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    manifest = make_splits(dataset, **{"random_state": 0} | changes)
    return embedded_splits(
        network, dataset, manifest, manifest.apply(dataset), cache, device=torch.device("cpu")
    )


def test_cached_embeddings_are_those_of_each_image(dataset, tmp_path):
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0)
    for name, split in embed(dataset, tmp_path, network).splits.items():
        expected = network.eval().embed(torch.from_numpy(split.images).float() / 255).detach().numpy()
        np.testing.assert_allclose(split.rows, expected, rtol=1e-5, atol=1e-6)
        assert len(split) > 0, name


def test_whoever_needs_the_same_embeddings_waits_for_them(dataset, tmp_path, monkeypatch):
    calls = []
    real = prediction.embed_images

    def count(network, split, **options):
        calls.append(len(split))
        time.sleep(0.1)
        return real(network, split, **options)

    monkeypatch.setattr(prediction, "embed_images", count)
    # Made beforehand: weights are drawn from torch's global generator, which threads would share.
    networks = [
        create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0) for _ in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(
            lambda network, seed: embed(dataset, tmp_path, network, random_state=seed), networks, (0, 0, 1)
        )
    assert sorted(calls) == [36, 112]
    assert np.array_equal(first.train.rows, others[0].train.rows)
    assert not np.array_equal(first.train.rows, others[1].train.rows)


def test_the_cache_is_named_by_content(dataset, make_images, tmp_path):
    def files():
        return len(list(tmp_path.glob("*.safetensors")))

    def network(seed=0, **options):
        made = create_network(
            "tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=seed, **options
        )
        freeze(made, "all")
        return made

    embed(dataset, tmp_path, network())
    embed(dataset, tmp_path, network(), validation_fraction=0.3)  # another split of the same images
    changed_head = network()
    changed_head.reset_head(9)
    embed(dataset, tmp_path, changed_head)
    assert files() == 1
    embed(dataset, tmp_path, network(seed=1))
    assert files() == 2
    embed(dataset, tmp_path, network(mean=0.4))
    assert files() == 3
    moved = network()
    moved.backbone[0][1].running_mean += 1
    embed(dataset, tmp_path, moved)
    assert files() == 4
    embed(blobs(make_images, [60, 40, 12], 9, ["cat", "dog", "owl"]), tmp_path, network())
    assert files() == 5
    assert body_hash(network()) == body_hash(changed_head)


def test_a_damaged_cache_is_said_so(dataset, tmp_path):
    embed(dataset, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunFolderError, match="delete it to recompute it"):
        embed(dataset, tmp_path)
    with pytest.raises(RunFolderError, match=r"cannot write .*choose another `cache`"):
        embed(dataset, path)


# --- what is refused ----------------------------------------------------------------------------------------


def test_what_freeze_can_say():
    from pathlib import Path

    with pytest.raises(InputError, match="`freeze` 1: without `weights` the layers are random"):
        read_freeze("1", None)
    for wrong in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(InputError, match="expected a number of layers from 1, all, or auto"):
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
