"""Adjusting finished runs: the same as training with the adjustment, from validation images alone."""

import dataclasses

import numpy as np
import pytest

from counterpoise.balance.adjust import ClassThresholds, adjustment_from_state
from counterpoise.config import make_config
from counterpoise.datasets import StepImbalance, dataset_from_arrays
from counterpoise.exceptions import DataError, InputError, RunFolderError, UnknownNameError
from counterpoise.files import content_hash
from counterpoise.inference import TrainedModel, adjust_run, load_adjustment, load_network, plan_adjustment
from counterpoise.runs import RunFolder
from counterpoise.training import RunPlan, SplitPlan, execute_run, predict_logits

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def dataset(make_images):
    images, labels = make_images([60, 60, 60])
    test_images, test_labels = make_images([20, 20, 20], seed=1)
    return dataset_from_arrays(
        images, labels, classes=CLASSES, name="blobs", test_images=test_images, test_labels=test_labels
    )


def run(dataset, method, path, *, validation=0.2):
    plan = RunPlan(
        source="blobs",
        fingerprint=dataset.fingerprint,
        image_size=dataset.image_size,
        split=SplitPlan(profile=StepImbalance(6, minority=[2]).to_dict(), validation_fraction=validation),
        draw=0,
        method=method,
        network="tinynet",
        config=make_config(epochs=1, batch_size=8, lr=5e-3, seed=0, device="cpu"),
    )
    return execute_run(plan, dataset, path)


@pytest.fixture(scope="module")
def base(dataset, tmp_path_factory):
    return run(dataset, "bl", tmp_path_factory.mktemp("runs") / "base")


def adjust(folder, dataset, spec, out, **options):
    return adjust_run(plan_adjustment(folder, spec, out=out, **options), dataset, device="cpu")


def read(folder, *names):
    return [(folder.path / name).read_bytes() for name in names]


WRITTEN = ("metrics.json", "predictions.csv", "mistakes.json")


@pytest.mark.parametrize(
    "spec",
    [
        "class-thresholds",
        "class-thresholds:score=accuracy",
        "temperature-scaling",
        "logit-adjustment:tau=0.5",
        "sigmoid-scores:thresholds=youden",
    ],
)
def test_it_is_what_training_with_the_adjustment_would_have_given(base, dataset, tmp_path, spec):
    adjusted = adjust(base, dataset, spec, tmp_path / "adjusted").folder
    method = adjusted.record.raw["method"]
    trained = run(dataset, method, tmp_path / "trained")
    assert read(adjusted, *WRITTEN) == read(trained, *WRITTEN)
    for key in ("method", "method_options", "dataset", "network", "training", "seed", "draw"):
        assert adjusted.record.raw[key] == trained.record.raw[key], key
    assert adjusted.record.raw["adjust"]["learned"] == trained.record.raw["adjust"]["learned"]
    assert {p.name for p in adjusted.path.iterdir()} == {p.name for p in trained.path.iterdir()}
    assert read(adjusted, *WRITTEN)[1] != read(base, *WRITTEN)[1]


def test_an_option_that_was_added_later_changes_no_hash(base):
    def hash_of(options):
        return content_hash([base.record.config_hash, "logit-adjustment", options])

    assert plan_adjustment(base, "logit-adjustment:tau=0.5").hash == hash_of({"tau": 0.5})
    assert plan_adjustment(base, "logit-adjustment:power=0.5").hash == hash_of({"tau": 1.0, "power": 0.5})


def test_before_and_after_are_the_scores_of_the_two_runs(base, dataset, tmp_path):
    costs = tmp_path / "costs.csv"
    costs.write_text("0,1,1\n1,0,1\n7,7,0\n")
    found = adjust(base, dataset, "class-thresholds", tmp_path / "adjusted", costs=costs)
    assert found.before == base.metrics.raw["test"]
    assert found.after == found.folder.metrics.raw["test"]
    matrix = np.array([[0, 1, 1], [1, 0, 1], [7, 7, 0]])
    for folder, cost in ((base, found.cost_before), (found.folder, found.cost_after)):
        predicted = TrainedModel.open(folder, device="cpu").probabilities(dataset.test).argmax(axis=1)
        assert cost == pytest.approx(matrix[dataset.test.labels, predicted].mean())


def test_it_is_learned_from_validation_images_alone(base, dataset, tmp_path):
    found = adjust(base, dataset, "class-thresholds", tmp_path / "adjusted").folder
    splits = plan_adjustment(base, "class-thresholds", out=tmp_path / "x").manifest.apply(dataset)
    logits = predict_logits(load_network(base), splits.validation, device="cpu")
    counts = splits.train.class_counts(3)
    expected = ClassThresholds().fit(logits, splits.validation.labels, counts)
    np.testing.assert_array_equal(load_adjustment(found).offset_, expected.offset_)
    # Their scores are of a cross-fit, as a winner may be chosen by them.
    crossed = expected.cross_fit(logits, splits.validation.labels, counts).argmax(axis=1)
    accuracy = found.metrics.raw["validation"]["all"]["accuracy"]
    assert accuracy == pytest.approx(np.mean(crossed == splits.validation.labels))
    wrong = dataclasses.replace(dataset.test, labels=(dataset.test.labels + 1) % 3)
    blinded = dataclasses.replace(dataset, test=wrong)
    blind = adjust(run(blinded, "bl", tmp_path / "blind"), blinded, "class-thresholds", tmp_path / "blind2")
    assert blind.folder.record.raw["adjust"] == found.record.raw["adjust"]


def test_an_adjustment_takes_the_place_of_the_one_that_is_there(base, dataset, tmp_path):
    once = adjust(base, dataset, "logit-adjustment:tau=2", tmp_path / "once").folder
    twice = adjust(once, dataset, "class-thresholds", tmp_path / "twice").folder
    straight = adjust(base, dataset, "class-thresholds", tmp_path / "straight").folder
    assert twice.record.raw["adjust"] == straight.record.raw["adjust"]
    assert read(twice, *WRITTEN) == read(straight, *WRITTEN)
    assert twice.record.raw["method"] == straight.record.raw["method"] == "bl:adjust=class-thresholds"
    assert twice.record.raw["method_options"] == straight.record.raw["method_options"]
    assert twice.record.raw["adjusted_from"] == straight.record.raw["adjusted_from"]
    built_in = run(dataset, "logit-adjusted", tmp_path / "built in")
    again = adjust(built_in, dataset, "class-thresholds", tmp_path / "again").folder
    assert again.record.raw["adjust"] == straight.record.raw["adjust"]
    assert again.record.raw["method"] == "logit-adjusted:adjust=class-thresholds"


def test_the_same_again_is_the_same_folder_and_anything_else_is_refused(base, dataset, tmp_path):
    out = tmp_path / "adjusted"
    first = adjust(base, dataset, "class-thresholds", out).folder
    before = read(first, *WRITTEN)
    again = adjust(base, dataset, "class-thresholds", out).folder
    assert read(again, *WRITTEN) == before
    with pytest.raises(RunFolderError, match="holds another run"):
        plan_adjustment(base, "class-thresholds", score="f1", out=out)
    with pytest.raises(RunFolderError, match="holds another run"):
        plan_adjustment(base, "class-thresholds", out=base.path)
    assert adjustment_from_state(RunFolder.open(out).record.raw["adjust"]).num_classes_ == 3


def test_costs_that_name_their_classes_are_put_in_order(base, dataset, tmp_path):
    plain, named = tmp_path / "plain.csv", tmp_path / "named.csv"
    plain.write_text("0,1,2\n3,0,4\n50,60,0\n")
    named.write_text("true,owl,dog,cat\nowl,0,60,50\ndog,4,0,3\ncat,2,1,0\n")
    for spec in ("class-thresholds", "expected-cost", "temperature-scaling"):
        one = adjust(base, dataset, spec, tmp_path / f"{spec}-one", costs=plain)
        other = adjust(base, dataset, spec, tmp_path / f"{spec}-other", costs=named)
        assert one.cost_after == other.cost_after
        assert read(one.folder, *WRITTEN) == read(other.folder, *WRITTEN)
    assert one.folder.record.raw["adjust"]["name"] == "TemperatureScaling"
    option = plan_adjustment(base, f"expected-cost:costs={named}", out=tmp_path / "option")
    np.testing.assert_array_equal(option.costs, [[0, 1, 2], [3, 0, 4], [50, 60, 0]])


def test_a_score_is_tuned_for_where_costs_are_only_shown(base, dataset, tmp_path):
    costs = tmp_path / "costs.csv"
    costs.write_text("0,9,9\n1,0,1\n1,1,0\n")
    shown = adjust(base, dataset, "class-thresholds", tmp_path / "shown", score="f1", costs=costs)
    assert shown.cost_after is not None
    plain = adjust(base, dataset, "class-thresholds", tmp_path / "plain", score="f1")
    assert plain.cost_after is None
    assert shown.folder.record.raw["adjust"] == plain.folder.record.raw["adjust"]


def test_without_validation_images_only_what_needs_none(dataset, tmp_path):
    folder = run(dataset, "bl", tmp_path / "none", validation=0.0)
    for spec in ("class-thresholds", "temperature-scaling", "logit-adjustment:tau=validation"):
        with pytest.raises(InputError, match=r"none has no validation images, and .* learns from them"):
            plan_adjustment(folder, spec)
    adjusted = adjust(folder, dataset, "logit-adjustment", tmp_path / "adjusted").folder
    assert adjusted.metrics.raw["validation"] is None
    assert adjusted.metrics.raw["test"] != folder.metrics.raw["test"]


@pytest.mark.parametrize(
    ("spec", "options", "error", "words"),
    [
        ("class-treshold", {}, UnknownNameError, "unknown adjustment 'class-treshold'; did you mean"),
        ("class-thresholds:f1", {}, InputError, "'f1' is not of the form option=value"),
        ("class-thresholds:scor=f1", {}, UnknownNameError, "did you mean 'score'"),
        ("class-thresholds:score=f2", {}, UnknownNameError, "unknown score 'f2'"),
        ("temperature-scaling", {"score": "f1"}, UnknownNameError, "unknown option of temperature-scaling"),
        ("expected-cost", {}, InputError, "needs a cost matrix"),
        ("class-thresholds:class_names=x", {}, UnknownNameError, "unknown option"),
    ],
)
def test_what_is_wrong_is_said_before_an_image_is_read(base, spec, options, error, words):
    with pytest.raises(error, match=words):
        plan_adjustment(base, spec, **options)


def test_images_of_another_data_set_are_refused(base, dataset, tmp_path):
    images = dataset.train.images.copy()
    images[5] ^= 1
    train = dataclasses.replace(dataset.train, images=images, keys=None)
    other = dataclasses.replace(dataset, name="other", train=train)
    with pytest.raises(DataError, match=r"'other' does not hold the images of .*, trained on 'blobs'"):
        adjust(base, other, "class-thresholds", tmp_path / "adjusted")
    assert not (tmp_path / "adjusted").exists()


def test_the_new_folder_stands_beside_the_run(base, tmp_path, monkeypatch):
    plan = plan_adjustment(base, "class-thresholds", score="f1")
    assert plan.out == base.path.with_name("base-adjusted-class-thresholds-score=f1")
    monkeypatch.chdir(base.path)
    assert plan_adjustment(RunFolder("."), "temperature-scaling").out == base.path.with_name(
        "base-adjusted-temperature-scaling"
    )
