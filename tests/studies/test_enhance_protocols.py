"""The protocols of an enhancement: equal terms for all variants, features that stay frozen, noise, what is exported."""

import copy
import csv
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from counterpoise.config import EnhanceConfig
from counterpoise.datasets import SplitManifest, dataset_from_arrays, rename_classes
from counterpoise.exceptions import InputError
from counterpoise.inference import load_network
from counterpoise.networks import EnhancedNetwork
from counterpoise.runs import RunFolder
from counterpoise.studies import EnhancementStudy, publish, run_study
from counterpoise.studies.enhance.page import findings, noise_rows, protocol
from counterpoise.studies.enhance.plan import make_enhance_plan
from counterpoise.studies.enhance.study import show_images
from counterpoise.studies.enhance.variants import NOISE, noise_accuracies
from counterpoise.training import seed_for

CLASSES = ("ant", "bee", "cat", "dog")
QUICK = {"backbone": "tinynet", "epochs": 2, "width": 4, "batch_size": 16, "device": "cpu"}


@pytest.fixture(scope="module")
def dataset(make_images):
    images, labels = make_images([40, 40, 40, 40])
    test_images, test_labels = make_images([20, 20, 20, 20], seed=1)
    return dataset_from_arrays(
        images, labels, classes=CLASSES, name="blobs", test_images=test_images, test_labels=test_labels
    )


def plan_of(dataset, **options):
    return make_enhance_plan(dataset, EnhanceConfig.of(**{"source": "blobs"} | QUICK | options))


def finished(dataset, out, **options):
    return run_study(EnhancementStudy(plan_of(dataset, **options), dataset), out, jobs=1)


@pytest.fixture(scope="module")
def frozen(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("frozen") / "out"
    return out, finished(dataset, out, frozen_features=True, unet="residual")


@pytest.fixture(scope="module")
def own(dataset):
    return rename_classes(dataset, {"ant": "ant", "bee": "bee"})


def runs_of(result):
    return {outcome.task.name: outcome.result for outcome in result.outcomes}


def state_of(run):
    return load_file(run.path / "model.safetensors")


# --- equal terms --------------------------------------------------------------------------------------------


def test_classifier_unet_and_controls_share_a_rate_that_falls_to_zero_and_one_augmentation(dataset):
    plan = plan_of(dataset)
    runs = [*plan.classifier_plans(), *plan.variant_plans()]
    assert {run.config.schedule for run in runs} == {"cosine"}
    assert {(run.config.lr, run.config.batch_size) for run in runs} == {(1e-3, 16)}
    first, *others = [run.record.augment for run in runs]
    assert first.name == "random-affine"
    assert all(augment == first for augment in others)


def test_epochs_are_equal_unless_asked_otherwise(dataset):
    epochs = {plan.variant: plan.epochs for plan in plan_of(dataset, epochs=7).variant_plans()}
    assert epochs == {"fresh-classifier": 14, "trained-on": 7, "enhanced": 7}
    asked = plan_of(dataset, epochs=7, enhance_epochs=2, fresh_epochs=3).variant_plans()
    assert [plan.epochs for plan in asked] == [3, 2, 2]


def test_an_augmentation_of_a_methods_own_stays_and_none_leaves_all_as_they_are(dataset):
    own = plan_of(dataset, method="bl:augment=trivial-augment")
    assert own.method.augment.name == "trivial-augment"
    assert own.classifier.augment.name == "random-affine"
    without = plan_of(dataset, augment="none", schedule="constant", enhance_epochs=3)
    assert (without.method.label, without.classifier.label) == ("bl", "bl")
    with pytest.raises(InputError, match="blur"):
        plan_of(dataset, augment="blur")


def test_the_kind_of_unet_enters_an_identity_only_where_it_does_not_copy(dataset):
    plans = {kind: plan_of(dataset, unet=kind) for kind in ("copy", "residual")}
    identities = {kind: plan.variant_plans()[-1].variant_identity() for kind, plan in plans.items()}
    assert "unet" not in identities["copy"]
    assert identities["residual"] == identities["copy"] | {"unet": "residual", "copy_epochs": 0}
    assert plans["copy"].identity != plans["residual"].identity
    assert plans["copy"].identity == plan_of(dataset).identity


# --- features that may not be changed -----------------------------------------------------------------------


def test_the_features_are_learned_from_the_other_classes(frozen, dataset):
    _, result = frozen
    runs = runs_of(result)
    assert list(runs) == ["features", "bl", "fine-tuned", "trained-on", "enhanced"]
    assert runs["features"].record.dataset.classes == ("cat", "dog")
    assert {run.record.dataset.classes for name, run in runs.items() if name != "features"} == {
        ("ant", "bee")
    }
    learned = set(runs["features"].seen.keys["train"].tolist())
    assert learned.isdisjoint(runs["bl"].seen.keys["train"].tolist())
    assert learned <= set(runs["enhanced"].seen.keys["weights"].tolist())
    assert (result.summary["classes"], result.summary["features_classes"]) == (
        ["ant", "bee"],
        ["cat", "dog"],
    )
    assert set(result.table["method"]) == {"bl", "fine-tuned", "trained-on", "enhanced"}


def test_what_is_frozen_is_the_features_to_the_bit_and_only_fine_tuning_moves_them(frozen):
    states = {name: state_of(run) for name, run in runs_of(frozen[1]).items()}
    body = {name for name in states["features"] if name.startswith(("backbone", "top"))}
    assert len(body) > 4
    kept = {"bl": "", "trained-on": "", "enhanced": "network."}
    for name, prefix in kept.items():
        for part in body:
            assert torch.equal(states[name][prefix + part], states["features"][part]), (name, part)
    assert any(not torch.equal(states["fine-tuned"][part], states["features"][part]) for part in body)
    heads = {name: part for name, part in states["bl"].items() if name.startswith("classifier")}
    for name, part in heads.items():
        assert torch.equal(states["enhanced"][f"network.{name}"], part)
        assert not torch.equal(states["trained-on"][name], part)


def test_the_head_has_converged_before_anything_else_is_trained(frozen, own):
    """Its gradient is zero, on the training images and with the penalty that it was fitted with."""
    run = runs_of(frozen[1])["bl"]
    network = load_network(run).double()
    splits = SplitManifest.load(run.path / "manifest.json").apply(own)
    with torch.no_grad():
        embedded = network.embed(torch.from_numpy(np.array(splits.train.images)).double() / 255)
    np.testing.assert_allclose(embedded.mean(dim=0), 0, atol=1e-3)  # standardized on these images
    head = network.classifier
    logits = embedded @ head.weight.T + head.bias
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(splits.train.labels))
    loss = loss + run.record.raw["penalties"]["train"] / 2 * head.weight.square().sum()
    gradients = torch.autograd.grad(loss, [head.weight, head.bias])
    assert max(float(gradient.abs().max()) for gradient in gradients) < 2e-3
    assert float(head.weight.detach().abs().max()) > 0.01


def test_every_repeat_has_features_of_its_own_and_a_finished_study_trains_nothing(
    dataset, tmp_path, monkeypatch
):
    settings = {"frozen_features": True, "unet": "residual", "epochs": 1, "repeats": 2}
    first = finished(dataset, tmp_path / "out", **settings)
    hashes = {plan.weights_hash for plan in plan_of(dataset, **settings).classifier_plans()}
    records = [o.result.record for o in first.outcomes if o.task.name == "features"]
    assert hashes == {record.config_hash for record in records}
    assert len(hashes) == 2
    bodies = [state_of(o.result) for o in first.outcomes if o.task.name == "features"]
    assert any(not torch.equal(bodies[0][name], bodies[1][name]) for name in bodies[0])
    from counterpoise.studies.engine import planned_runs
    from counterpoise.studies.enhance import study as module

    def train(*args, **kwargs):
        raise AssertionError("trained once more")

    monkeypatch.setattr(module, "execute_variant", train)
    monkeypatch.setattr(planned_runs, "execute_run", train)
    again = finished(dataset, tmp_path / "out", **settings)
    assert again.summary["failed"] == []
    assert again.table.equals(first.table)


def test_features_of_given_weights_stay_frozen_too(dataset, frozen, tmp_path):
    weights = runs_of(frozen[1])["features"].path
    result = finished(dataset, tmp_path / "out", frozen_features=True, weights=weights, copy_epochs=1)
    runs = runs_of(result)
    assert list(runs) == ["bl", "fine-tuned", "trained-on", "enhanced"]
    states = {name: state_of(run) for name, run in runs.items()}
    source = load_file(weights / "model.safetensors")
    body = {name for name in source if name.startswith(("backbone", "top"))}
    assert all(torch.equal(states["enhanced"][f"network.{part}"], source[part]) for part in body)
    assert all(torch.equal(states["trained-on"][part], source[part]) for part in body)
    assert any(not torch.equal(states["fine-tuned"][part], source[part]) for part in body)
    assert "frozen features of given weights" in protocol(result.summary)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"frozen_features": True, "fresh_epochs": 1},
            "`fresh_epochs` contradicts `frozen_features`",
        ),
        (
            {"frozen_features": True, "train_classifier": True},
            "`train_classifier` contradicts `frozen_features`",
        ),
        ({"frozen_features": True, "freeze": "2"}, "`freeze` contradicts `frozen_features`"),
        ({"frozen_features": True, "classifier_method": "aos"}, "changes images, and a network frozen whole"),
        ({"unet": "residual", "copy_epochs": 1}, "a residual U-Net is a copy from the start"),
    ],
)
def test_what_does_not_go_together_is_refused(dataset, options, message):
    with pytest.raises(InputError, match=message):
        plan_of(dataset, **options)


# --- noise --------------------------------------------------------------------------------------------------


def test_accuracies_under_noise_are_those_of_a_slow_loop(frozen, own):
    runs = runs_of(frozen[1])
    networks = {name: load_network(runs[name]) for name in ("bl", "enhanced")}
    test = SplitManifest.load(runs["bl"].path / "manifest.json").apply(own).test
    found = runs["enhanced"].record.enhance.noise
    assert list(found["bl"]) == [str(strength) for strength in NOISE] == ["0.0", "0.02", "0.05", "0.1", "0.2"]
    pixels = torch.from_numpy(np.array(test.images)).float() / 255
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed_for(0, "noise")))
    for strength in NOISE:
        for name, network in networks.items():
            hits = 0
            for image, own, label in zip(pixels, noise, test.labels, strict=True):
                noisy = (image + strength * own).clip(0, 1)
                with torch.no_grad():
                    hits += int(network(noisy[None]).argmax()) == label
            assert found[name][str(strength)] == pytest.approx(hits / len(test))
    clean = {name: runs[name].metrics.test.all["accuracy"] for name in networks}
    assert {name: by["0.0"] for name, by in found.items()} == pytest.approx(clean)


def test_noise_is_on_an_even_sample_of_many_images(frozen, own, monkeypatch):
    from counterpoise.studies.enhance import variants

    runs = runs_of(frozen[1])
    network = load_network(runs["bl"])
    test = SplitManifest.load(runs["bl"].path / "manifest.json").apply(own).test
    monkeypatch.setattr(variants, "NOISY_IMAGES", 8)
    found = noise_accuracies({"bl": network}, test, seed=3)
    chosen = test.subset(np.linspace(0, len(test) - 1, 8).round().astype(int))
    with torch.no_grad():
        predicted = network(torch.from_numpy(np.array(chosen.images)).float() / 255).argmax(dim=1)
    assert found["bl"]["0.0"] == float((predicted.numpy() == chosen.labels).mean())


def test_noise_stands_in_the_summary_the_page_and_a_table(frozen):
    out, result = frozen
    with (out / "results-noise.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    header = "dataset,imbalance,imbalance_ratio,draw,seed,method,noise,classes,metric,value"
    assert (out / "results-noise.csv").read_text().splitlines()[0] == header
    stored = runs_of(result)["enhanced"].record.enhance.noise
    for strength, shown in zip(NOISE, result.summary["noise"], strict=True):
        accuracy = {name: by[str(strength)] for name, by in stored.items()}
        found = {row["method"]: row for row in rows if float(row["noise"]) == strength}
        assert {name: float(row["value"]) for name, row in found.items()} == accuracy
        assert {row["metric"] for row in found.values()} == {"accuracy"}
        assert shown["gain"]["mean"] == pytest.approx(accuracy["enhanced"] - accuracy["bl"])
    page = (out / "enhance.html").read_text()
    for row in noise_rows(result.summary):
        assert all(f">{cell}<" in page for cell in row[1:])


# --- claims -------------------------------------------------------------------------------------------------


def with_gains(summary, over_classifier, over_head, spread):
    base = {"metric": "accuracy", "classes": "all", "n": 3}
    gains = [
        base | {"over": name, "mean": mean, "low": mean - spread, "high": mean + spread}
        for name, mean in (("bl", over_classifier), ("trained-on", over_head))
    ]
    return copy.deepcopy(dict(summary)) | {"gains": gains, "changes": [], "noise": []}


@pytest.mark.parametrize(
    ("gains", "claimed"),
    [
        ((0.1, 0.08, 0.01), "Gain for a classifier that may not be changed, also over"),
        (
            (0.1, 0.08, 0.09),
            "Whether there is a gain for a classifier that may not be changed is not decided.",
        ),
        ((0.1, -0.01, 0.005), "No gain for a classifier that may not be changed."),
        ((-0.1, -0.2, 0.01), "No gain for a classifier that may not be changed."),
    ],
)
def test_a_gain_is_claimed_only_for_a_classifier_that_may_not_be_changed(frozen, gains, claimed):
    summary = with_gains(frozen[1].summary, *gains)
    assert findings(summary)[-1].startswith(claimed)
    changeable = findings(summary | {"frozen_features": False})
    assert changeable[-1].startswith("No gain is claimed: this classifier may be changed")
    assert not any(sentence.startswith("Gain") for sentence in changeable)


def noise_of(*gains):
    entry = {"low": None, "high": None, "n": 1}
    return [
        {"strength": s, "gain": entry | {"mean": gain}, "classifier": {}, "enhanced": {}}
        for s, gain in zip(NOISE, gains, strict=False)
    ]


def test_noise_is_called_removed_only_where_the_gain_grows_with_every_strength(frozen):
    summary = with_gains(frozen[1].summary, 0.1, 0.1, 0.01)
    removed = findings(summary | {"noise": noise_of(0.01, 0.02, 0.05)})[-1]
    assert removed == (
        "Under Gaussian noise on the test images their accuracy is 2.0 points above at 0.02, 5.0 points above at 0.05 "
        "the classifier's; without noise 1.0 points above it. It removes noise."
    )
    kept = findings(summary | {"noise": noise_of(0.01, 0.005, 0.05)})[-1]
    assert kept.endswith("This is no sign that it removes noise.")


def test_all_variants_stand_on_the_page(frozen):
    out, result = frozen
    page = (out / "enhance.html").read_text()
    titles = [entry["title"] for entry in result.summary["methods"]]
    assert titles == [
        "Classifier",
        "U-Net + the same classifier, frozen",
        "Continued training of the head",
        "Whole network fine-tuned",
    ]
    assert all(f"{title}" in page for title in titles)
    assert "learned from other classes (cat, dog). Its own classes are ant, bee." in page


# --- results without the runs -------------------------------------------------------------------------------


def test_what_is_exported_is_the_numbers_and_the_page_in_place_of_an_earlier_copy(frozen, own, tmp_path):
    out, result = frozen
    show_images(result, own, out, count=1)
    target = tmp_path / "results" / "enhance-blobs"
    target.mkdir(parents=True)
    for name in ("results.csv", "results-noise.csv"):
        (target / name).write_text("of an earlier study")
    publish(EnhancementStudy, out, target)
    names = ["enhance.html", "results-full.csv", "results-noise.csv", "results.csv", "summary.json"]
    assert sorted(path.name for path in target.iterdir()) == names
    for name in names:
        assert (target / name).read_bytes() == (out / name).read_bytes()
    assert json.loads((target / "summary.json").read_text())["frozen_features"] is True


def test_the_enhanced_run_is_a_run_of_its_own_classes(frozen):
    run = RunFolder.open(runs_of(frozen[1])["enhanced"].path)
    network = load_network(run)
    assert isinstance(network, EnhancedNetwork)
    assert network.enhancer.unet.residual
    assert network.num_classes == 2
    assert run.record.enhance.frozen
