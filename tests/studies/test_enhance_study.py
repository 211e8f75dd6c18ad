"""The three steps and their controls: the numbers by hand, the classifier bit by bit, killed and gone on with."""

import base64
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binomtest
from typed import faults

from counterpoise.config import EnhanceConfig
from counterpoise.datasets import SplitManifest, dataset_from_arrays
from counterpoise.evaluation import class_recalls, confusion_matrix, geometric_mean
from counterpoise.exceptions import InputError, RunFolderError, TrainingError
from counterpoise.explain import SAME_FROM, GradCAM, feature_maps, find_convolutions, map_similarity
from counterpoise.files import read_json, write_json
from counterpoise.inference import ExplainedModel, TrainedModel, evaluate_run, load_network
from counterpoise.networks.enhanced import Enhancer
from counterpoise.runs import Predictions, RunFolder
from counterpoise.studies import EnhancementStudy, run_study
from counterpoise.studies.enhance import figures
from counterpoise.studies.enhance.figures import RIGHT, RIGHT_TO_WRONG, WRONG_TO_RIGHT, choose_images
from counterpoise.studies.enhance.page import findings, write_page
from counterpoise.studies.enhance.plan import make_enhance_plan
from counterpoise.studies.enhance.study import first_pair, show_images
from counterpoise.studies.enhance.summary import EnhanceSummary, summarize
from counterpoise.studies.enhance.variants import execute_variant
from counterpoise.training import (
    ProgressCallback,
    embed_images,
    execute_run,
    fit_method,
    predict_logits,
    seed_for,
)

CPU = torch.device("cpu")
NEW_HEAD = "bl:head=new-head:head_loss=balanced-softmax"
VARIANTS = ["bl", "enhanced", "trained-on", "fresh-classifier", NEW_HEAD]


def run_enhance(study, dataset, out, **options):
    return run_study(EnhancementStudy(study, dataset), out, **options)


@pytest.fixture(scope="module")
def dataset(make_images):
    return dataset_of(make_images)


def dataset_of(make_images):
    images, labels = make_images([60, 60, 60])
    test_images, test_labels = make_images([20, 20, 20], seed=1)
    return dataset_from_arrays(
        images,
        labels,
        classes=["cat", "dog", "owl"],
        name="cifar10",  # the slides' table has one of this name
        test_images=test_images,
        test_labels=test_labels,
    )


def study_of(dataset, **options):
    defaults = {
        "source": "blobs",
        "backbone": "tinynet",
        "epochs": 2,
        "enhance_epochs": 2,
        "copy_epochs": 2,
        "width": 4,
        "batch_size": 16,
        "device": "cpu",
        "validation_fraction": 0.2,
        "imbalance": "step",
        "ratio": 6,
        "minority": "1",
        "augment": "none",
    }
    return make_enhance_plan(dataset, EnhanceConfig.of(**defaults | options))


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("enhance") / "out"
    result = run_enhance(study_of(dataset), dataset, out)
    show_images(result, dataset, out, count=1)
    return out, result


@pytest.fixture(scope="module")
def runs(finished):
    _, result = finished
    return {outcome.result.record.raw["method"]: outcome.result for outcome in result.outcomes}


def splits_of(folder, dataset):
    return SplitManifest.load(folder.path / "manifest.json").apply(dataset)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values_of(path):
    return {(r["method"], r["classes"], r["metric"]): float(r["value"]) for r in rows_of(path)}


def answers(network, split):
    return predict_logits(network, split, device=CPU).argmax(axis=1)


# --- the numbers --------------------------------------------------------------------------------------------


def test_the_record_of_a_variant_is_that_of_its_classifier_with_its_own_entries(runs):
    base = read_json(runs["bl"].path / "run.json")
    variant = read_json(runs["enhanced"].path / "run.json")
    assert list(variant) == [*base, "enhance"]
    changed = {
        "created",
        "method",
        "method_title",
        "method_options",
        "network",
        "training",
        "config_hash",
        "config",
        "timings",
        "trust",
    }
    assert variant["config"]["asked"] == base["config"]["asked"]
    assert (variant["config"]["resolved"]["variant"], variant["config"]["resolved"]["width"]) == (
        "enhanced",
        4,
    )
    assert {key for key in base if variant[key] != base[key]} <= changed
    assert (variant["method"], variant["enhance"]["classifier"]) == ("enhanced", "bl")
    assert variant["enhance"]["classifier_run"] == runs["bl"].path.name
    settings = {key for key, value in base["training"].items() if variant["training"][key] != value}
    assert settings == {"seed"}  # the number of epochs is the same in this study


def test_accuracies_are_those_of_the_saved_networks_counted_by_hand(finished, runs, dataset):
    out, result = finished
    values = values_of(out / "results.csv")
    header = "dataset,imbalance,imbalance_ratio,draw,seed,method,classes,metric,value"
    assert (out / "results.csv").read_text().splitlines()[0] == header
    assert list(runs) == ["bl", NEW_HEAD, "fresh-classifier", "trained-on", "enhanced"]
    for name, folder in runs.items():
        test = splits_of(folder, dataset).test
        right = answers(load_network(folder), test) == test.labels
        assert values[name, "all", "accuracy"] == pytest.approx(right.mean())
        assert [row["true"] == row["predicted"] for row in rows_of(folder.path / "predictions.csv")] == list(
            right
        )
    entries = {entry["method"]: entry for entry in result.summary["methods"]}
    assert list(entries) == VARIANTS
    for name, entry in entries.items():
        assert entry["scores"]["all"]["accuracy"]["mean"] == pytest.approx(values[name, "all", "accuracy"])
        assert entry["n"] == 1


def test_the_full_scores_are_those_of_training_and_test_images_together(finished, runs, dataset):
    out, result = finished
    values = values_of(out / "results-full.csv")
    splits = splits_of(runs["bl"], dataset)
    true = np.concatenate([splits.train.labels, splits.test.labels])
    rare = runs["bl"].record.raw["dataset"]["minority"]
    for name in ("bl", "enhanced"):
        network = load_network(runs[name])
        predicted = np.concatenate([answers(network, split) for split in (splits.train, splits.test)])
        recalls = class_recalls(confusion_matrix(true, predicted, num_classes=3))
        assert values[name, "all", "accuracy"] == pytest.approx((predicted == true).mean())
        assert values[name, "all", "gmean"] == pytest.approx(geometric_mean(recalls))
        assert values[name, "minority", "recall"] == pytest.approx(np.mean([recalls[c] for c in rare]))
        full = result.summary["full"][name]["all"]["accuracy"]["mean"]
        assert full == pytest.approx(values[name, "all", "accuracy"])
    assert {row["method"] for row in rows_of(out / "results-full.csv")} == {"bl", "enhanced"}


def test_changes_and_gains_are_counted_from_the_predictions(finished, runs):
    _, result = finished
    found = {change["before"]: change for change in result.summary["changes"]}
    assert list(found) == ["bl", "trained-on", "fresh-classifier"]
    after = rows_of(runs["enhanced"].path / "predictions.csv")
    for name, change in found.items():
        before = rows_of(runs[name].path / "predictions.csv")
        kinds = Counter(
            (b["predicted"] == b["true"], a["predicted"] == a["true"])
            for b, a in zip(before, after, strict=True)
        )
        gained, lost = kinds[False, True], kinds[True, False]
        assert (change["wrong_to_right"], change["right_to_wrong"]) == (gained, lost)
        assert (change["both_right"], change["both_wrong"]) == (kinds[True, True], kinds[False, False])
        p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert change["p_value"] == pytest.approx(p)
        gain = next(g for g in result.summary["gains"] if (g["over"], g["metric"]) == (name, "accuracy"))
        assert gain["mean"] == pytest.approx((gained - lost) / 60)


def test_the_slides_numbers_stand_beside_a_set_of_theirs_that_is_not_thinned(finished, dataset):
    _, result = finished
    assert result.summary["slides"] == []
    natural = study_of(dataset, source="cifar10", imbalance="natural", ratio=None, minority=None)
    summary = summarize(natural, [], result.table.iloc[:0], seconds=0)
    assert summary["slides"] == [{"evaluated_on": "test", "classifier": 0.757, "combined": 0.796}]


# --- what is trained ----------------------------------------------------------------------------------------


def test_the_frozen_classifier_is_the_same_bits_before_and_after(runs):
    before = load_file(runs["bl"].path / "model.safetensors")
    after = load_file(runs["enhanced"].path / "model.safetensors")
    assert {n.removeprefix("network.") for n in after if n.startswith("network.")} == set(before)
    assert all(torch.equal(after[f"network.{name}"], tensor) for name, tensor in before.items())


def test_every_arm_sees_the_labelled_images_equally_often(runs):
    epochs = {name: len(read_json(folder.path / "history.json")) for name, folder in runs.items()}
    assert epochs == {"bl": 2, "enhanced": 2, "trained-on": 2, "fresh-classifier": 4, NEW_HEAD: 4}
    copies = {name: folder.record.raw.get("enhance", {}).get("copy") for name, folder in runs.items()}
    assert [len(copies[name] or ()) for name in VARIANTS] == [0, 2, 0, 2, 0]
    assert copies["enhanced"] == copies["fresh-classifier"]


def test_the_control_with_a_fresh_classifier_may_be_shorter_and_no_other_arm_is_another_for_it(dataset):
    usual, shorter = study_of(dataset), study_of(dataset, fresh_epochs=1)
    assert usual.identity == shorter.identity
    pairs = zip(usual.variant_plans(), shorter.variant_plans(), strict=True)
    assert {(one.variant, one.epochs, other.epochs, one.hash == other.hash) for one, other in pairs} == {
        ("fresh-classifier", 4, 1, False),
        ("trained-on", 2, 2, True),
        ("enhanced", 2, 2, True),
    }


def test_trained_on_is_the_classifier_trained_on(runs, dataset):
    splits, network = splits_of(runs["bl"], dataset), load_network(runs["bl"])
    study = study_of(dataset)
    config = study.classifiers.config.model_copy(update={"seed": seed_for(0, "enhance")})
    fit_method(study.method, network, splits.train, config=config)
    saved = load_file(runs["trained-on"].path / "model.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in network.state_dict().items())


def test_the_new_head_stands_on_the_classifiers_own_features(runs, dataset):
    test = splits_of(runs["bl"], dataset).test
    one, other = (embed_images(load_network(runs[name]), test, device=CPU) for name in ("bl", NEW_HEAD))
    assert np.array_equal(one, other)


def test_the_classifier_is_trained_on_where_that_is_asked_for(dataset, tmp_path):
    result = run_enhance(
        study_of(dataset, train_classifier=True, imbalance="natural", ratio=None, minority=None),
        dataset,
        tmp_path / "out",
    )
    assert [entry["method"] for entry in result.summary["methods"]] == VARIANTS[:4]  # no class is rare
    assert result.summary["metric"] == "accuracy"
    before = load_file(first_pair(result)[0].path / "model.safetensors")
    after = load_file(first_pair(result)[1].path / "model.safetensors")
    moved = {name for name, tensor in before.items() if not torch.equal(after[f"network.{name}"], tensor)}
    assert moved == set(before) - {"mean", "std"}


def test_an_enhanced_run_is_a_run_like_any_other_and_its_enhancer_works_alone(runs, dataset):
    folder = RunFolder.open(runs["enhanced"].path)
    test = splits_of(folder, dataset).test
    assert evaluate_run(folder, dataset, device="cpu").scores == folder.metrics.raw["test"]
    assert folder.seen.keys["train"].tolist() == splits_of(folder, dataset).train.content_keys().tolist()
    enhancer = Enhancer.load(folder.path / "enhancer.safetensors")
    images = torch.from_numpy(np.array(test.images)).float() / 255
    with torch.no_grad():
        logits = load_network(runs["bl"])(enhancer(images)).numpy()
    np.testing.assert_allclose(logits, predict_logits(load_network(folder), test, device=CPU), atol=1e-5)


def test_every_arm_has_the_map_of_its_embedding_for_the_report(runs, dataset):
    maps = {name: read_json(runs[name].path / "embedding.json") for name in VARIANTS}
    assert all(points["label"] == maps["bl"]["label"] for points in maps.values())
    assert maps["enhanced"]["x"] != maps["bl"]["x"]


def test_feature_maps_behind_an_enhancer_are_the_classifiers_of_the_changed_image(runs, dataset):
    folder = RunFolder.open(runs["enhanced"].path)
    model = ExplainedModel(TrainedModel.open(folder, device="cpu"), "grad-cam", with_feature_maps=True)
    pixels = np.array(splits_of(folder, dataset).test.images[:2])
    found = model.view(pixels).features
    classifier = load_network(runs["bl"])
    layers = find_convolutions(classifier, (1, 8, 8))[:2]
    assert list(found) == [f"network.{layer}" for layer in layers]
    with torch.no_grad():
        changed = load_network(folder).enhancer(torch.from_numpy(pixels).float() / 255)
    for layer in layers:
        expected = feature_maps(classifier, changed, layer).numpy()
        np.testing.assert_allclose(found[f"network.{layer}"], expected, atol=1e-5)


# --- resuming -----------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


class KillAt(ProgressCallback):
    def __init__(self, *at):
        self.at = at

    def update(self, step):
        if (step.stage, step.epoch) == self.at:
            raise Killed


@pytest.mark.parametrize("stage", ["copy", "enhanced"])
def test_a_killed_arm_goes_on_to_the_same_bits(dataset, runs, tmp_path, stage):
    study = study_of(dataset)
    plan = next(plan for plan in study.variant_plans() if plan.variant == "enhanced")
    where = {"classifier": runs["bl"].path, "shared": tmp_path / "networks"}
    with pytest.raises(Killed):
        execute_variant(plan, dataset, tmp_path / "run", on_progress=KillAt(stage, 2), **where)
    assert not RunFolder(tmp_path / "run").is_complete()
    resumed_run = execute_variant(plan, dataset, tmp_path / "run", **where)
    whole, resumed = (load_file(f.path / "model.safetensors") for f in (runs["enhanced"], resumed_run))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    for name in ("metrics.json", "predictions.csv", "enhancer.safetensors"):
        assert (resumed_run.path / name).read_bytes() == (runs["enhanced"].path / name).read_bytes()
    assert not (resumed_run.path / "checkpoints").exists()


def test_a_finished_study_is_not_run_or_drawn_again(dataset, finished):
    out, before = finished
    made = [*(out / "runs").glob("*/run.json"), *(out / "figures").iterdir()]
    stamps = {path: path.stat().st_mtime_ns for path in made}
    page = (out / "enhance.html").read_bytes()
    result = run_enhance(study_of(dataset), dataset, out, jobs=2)
    show_images(result, dataset, out, count=1)
    assert {path: path.stat().st_mtime_ns for path in made} == stamps
    assert (out / "enhance.html").read_bytes() == page
    assert result.summary | {"wall_seconds": 0} == before.summary | {"wall_seconds": 0}
    assert not (out / "networks").exists()


KILLED = """
    import os
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    from conftest import blob_images
    import test_enhance_study as module
    dataset = module.dataset_of(blob_images)
    if __name__ == "__main__":
        module.run_enhance(module.study_of(dataset), dataset, Path({out!r}), jobs=2)
"""


@pytest.mark.slow
def test_a_killed_study_finishes_the_missing_runs_to_the_same_table(dataset, finished, tmp_path):
    out, script = tmp_path / "killed", tmp_path / "script.py"
    paths = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / n) for n in (".", "helpers"))]
    script.write_text(textwrap.dedent(KILLED).format(paths=paths, out=str(out)))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while len(complete_runs(out)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)  # the parent alone: workers must notice by themselves
        process.wait()
    before = complete_runs(out)
    assert 2 <= len(before) < 5
    assert not (out / "results.csv").exists()
    result = run_enhance(study_of(dataset), dataset, out)
    assert before.items() <= complete_runs(out).items()
    for name in ("results.csv", "results-full.csv"):
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes()
    order = [outcome.task.name for outcome in result.outcomes]
    assert order == [outcome.task.name for outcome in finished[1].outcomes]


def complete_runs(out):
    runs = out.glob("runs/*/run.json")
    return {path: path.stat().st_mtime_ns for path in runs if RunFolder(path.parent).is_complete()}


def test_variants_of_a_failed_classifier_are_failures_of_their_own(dataset, tmp_path, monkeypatch):
    from counterpoise.studies.engine import planned_runs

    def fail(plan, *args, **kwargs):
        raise TrainingError("the train loss became nan at step 3")

    monkeypatch.setattr(planned_runs, "execute_run", fail)
    study = study_of(dataset, imbalance="natural", ratio=None, minority=None)
    failed = run_enhance(study, dataset, tmp_path / "out").summary["failed"]
    assert [(entry["method"], entry["error"]) for entry in failed] == [
        ("bl", "the train loss became nan at step 3"),
        *(
            (name, "bl is not there to start from: its training failed")
            for name in ("fresh-classifier", "trained-on", "enhanced")
        ),
    ]


@pytest.mark.slow
def test_two_jobs_and_two_draws_give_the_numbers_of_one_and_one(dataset, finished, tmp_path):
    out, _ = finished
    run_enhance(study_of(dataset, repeats=2), dataset, tmp_path / "out", jobs=2)
    both = (tmp_path / "out/results.csv").read_text().splitlines()
    assert set((out / "results.csv").read_text().splitlines()) < set(both)


def test_a_failed_arm_is_reported_and_does_not_stop_the_rest(dataset, tmp_path, monkeypatch):
    from counterpoise.studies.enhance import study as module

    real = module.execute_variant

    def fail_once(plan, *args, **kwargs):
        if plan.variant == "enhanced":
            raise TrainingError("the train loss became nan at step 3")
        return real(plan, *args, **kwargs)

    monkeypatch.setattr(module, "execute_variant", fail_once)
    result = run_enhance(study_of(dataset), dataset, tmp_path / "out")
    show_images(result, dataset, tmp_path / "out")
    assert result.summary["failed"] == [
        {"method": "enhanced", "draw": 0, "error": "the train loss became nan at step 3"}
    ]
    assert {entry["method"]: entry["n"] for entry in result.summary["methods"]} == {
        name: int(name != "enhanced") for name in VARIANTS
    }
    monkeypatch.setattr(module, "execute_variant", real)
    assert run_enhance(study_of(dataset), dataset, tmp_path / "out").summary["failed"] == []


def test_a_folder_belongs_to_one_study(dataset, finished, tmp_path):
    out, _ = finished
    before = (out / "results.csv").read_bytes()
    for change in (
        {"width": 5},
        {"method": "bl-cw"},
        {"copy_epochs": 3},
        {"train_classifier": True},
        {"lr": 0.1},
    ):
        with pytest.raises(RunFolderError, match="holds another enhancement"):
            run_enhance(study_of(dataset, **change), dataset, out)
    assert (out / "results.csv").read_bytes() == before
    plan = study_of(dataset).classifiers.plans()[0]
    execute_run(plan, dataset, tmp_path / "run")
    with pytest.raises(RunFolderError, match="holds no enhancement"):
        run_enhance(study_of(dataset), dataset, tmp_path / "run")


# --- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ados"}, "`method` ados acts on embeddings"),
        ({"method": "crt"}, "`method` crt acts on the head"),
        ({"method": "logit-adjusted"}, "`method` logit-adjusted acts on logits"),
        ({"classifier_method": "logit-adjusted"}, "`classifier_method` logit-adjusted changes logits"),
        ({"method": "bl:head_layer=cosine"}, "needs a cosine head, and the classifier has a linear one"),
        ({"method": "nothing"}, "unknown method 'nothing'"),
        ({"width": 0}, "`width` 0"),
        ({"copy_epochs": 0}, "`copy_epochs` 0"),
        ({"enhance_epochs": -1}, "`enhance_epochs` -1"),
        ({"fresh_epochs": 0}, "`fresh_epochs` 0"),
        ({"repeats": 0}, "`repeats` 0"),
        ({"backbone": "lenet"}, "lenet needs images of at least 12x12"),
        ({"imbalance": "natural", "ratio": None, "minority": None, "head_epochs": 2}, "no class is rare"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(dataset, options, message):
    with pytest.raises(InputError, match=message):
        study_of(dataset, **options)


def test_the_copier_gets_enough_steps_where_no_epochs_are_given(dataset):
    study = study_of(dataset, copy_epochs=None, imbalance="natural", ratio=None, minority=None)
    assert study.copy_epochs == 28  # 144 training images make 9 steps of 16


# --- figures and page ---------------------------------------------------------------------------------------


def predictions_of(true, predicted, chance):
    """Two classes; `chance` is the probability of the true one."""
    true, predicted = np.array(true), np.array(predicted)
    probabilities = np.empty((len(true), 2))
    probabilities[np.arange(len(true)), true] = chance
    probabilities[np.arange(len(true)), 1 - true] = 1 - np.array(chance)
    paths = tuple(f"{i}.png" for i in range(len(true)))
    return Predictions(("cat", "dog"), paths, true, predicted, probabilities)


def test_images_are_chosen_by_how_much_they_move_half_of_them_turned_right():
    before = predictions_of([0] * 7, [1, 1, 1, 0, 0, 0, 1], [0.4, 0.3, 0.2, 0.9, 0.8, 0.7, 0.1])
    after = predictions_of([0] * 7, [0, 0, 0, 1, 0, 0, 1], [0.6, 0.9, 0.7, 0.3, 0.9, 0.9, 0.2])
    chosen = choose_images(before, after, 4)
    assert [(c["index"], c["change"]) for c in chosen] == [
        (1, WRONG_TO_RIGHT),
        (2, WRONG_TO_RIGHT),
        (3, RIGHT_TO_WRONG),
        (5, RIGHT),
    ]
    assert (chosen[0]["before"], chosen[0]["after"]) == ("dog", "cat")
    assert (chosen[0]["probability_before"], chosen[0]["probability_after"]) == pytest.approx((0.3, 0.9))
    # What one kind lacks, the next gets; image 6 is wrong before and after.
    assert len(choose_images(before, before, 4)) == 1
    assert sorted(c["index"] for c in choose_images(before, after, 100)) == [0, 1, 2, 3, 4, 5]


def test_images_of_every_class_are_chosen_before_a_second_of_any():
    true = [0, 0, 0, 1, 1]
    before = predictions_of(true, [1, 1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4, 0.4])
    after = predictions_of(true, true, [0.9, 0.9, 0.9, 0.6, 0.7])
    assert [c["index"] for c in choose_images(before, after, 5)] == [0, 4, 1, 3, 2]


def test_the_page_holds_every_figure_and_groups_grad_cam_by_its_similarity(finished, runs, dataset):
    out, result = finished
    page = (out / "enhance.html").read_text()
    [shown] = result.summary["images"]
    assert set(shown["figures"]) == {"pixels", "grad-cam", "conv1", "conv2"}
    for name in shown["figures"].values():
        assert base64.b64encode((out / "figures" / name).read_bytes()).decode() in page
    network = load_network(runs["enhanced"])
    test = splits_of(runs["enhanced"], dataset).test
    old = torch.from_numpy(np.array(test.images[shown["image"]["index"]]))[None].float() / 255
    with torch.no_grad():
        new = network.enhancer(old)
    target = dataset.classes.index(shown["image"]["true"])
    maps = [GradCAM(network.network).explain(images, target).numpy() for images in (old, new)]
    assert shown["similarity"] == pytest.approx(float(map_similarity(*maps)[0]), abs=1e-6)
    assert shown["same"] is (shown["similarity"] >= SAME_FROM)
    assert shown["blank"] is (not all(map.any() for map in maps))
    same, different = page.index('id="same"'), page.index('id="different"')
    caption = f'alt="Grad-CAM: {"same" if shown["same"] else "different"}'
    assert page.index(caption) > (same if shown["same"] else different)
    assert page.count("None of the images shown.") == 1


def test_the_summary_on_disk_is_of_its_type(finished):
    out, _ = finished
    summary = json.loads((out / "summary.json").read_text())
    assert faults(summary, EnhanceSummary) == []
    assert faults(summary | {"width": "2", "more": 1}, EnhanceSummary) == ["it has more", "width: '2'"]
    del summary["gains"][0]["mean"]
    assert faults(summary, EnhanceSummary) == ["gains lacks mean"]


def test_the_documents_take_the_numbers_and_pictures_of_a_finished_study(finished, documents, tmp_path):
    out, result = finished
    summary = json.loads((out / "summary.json").read_text())
    copy = shutil.copytree(out, tmp_path / "my-study")
    write_json(copy / "summary.json", summary | {"command": "counterpoise enhance /my/photos --out /my/out"})
    name, block = documents.enhance_block(copy, tmp_path / "docs")
    assert name == "my-study"
    assert "counterpoise enhance photos --out out/out" in block
    for entry in result.summary["methods"]:
        mean = entry["scores"]["minority"]["recall"]["mean"]
        assert any(entry["title"] in line and f"{mean:.3f}" in line for line in block.splitlines())
    pictures = re.findall(r"\(studies/(.+?)\)", block)
    assert len(pictures) == 4  # of the one image, which is the same or different
    for picture in pictures:
        assert (tmp_path / "docs/studies" / picture).stat().st_size < 200_000


def test_a_map_without_a_place_that_counts_is_called_blank(runs, dataset, tmp_path, monkeypatch):
    class Blind(GradCAM):
        def explain(self, images, targets=None):
            return super().explain(images, targets) * 0

    panels = []
    monkeypatch.setattr(figures, "GradCAM", Blind)
    monkeypatch.setattr(figures, "feature_map_figure", lambda *_, **__: None)
    monkeypatch.setattr(figures, "difference_figure", lambda *_, **__: None)
    monkeypatch.setattr(figures, "explanation_figure", lambda shown, **_: panels.extend(shown))
    monkeypatch.setattr(figures, "save_figure", lambda *_: None)
    before, after = (runs[name].predictions for name in ("bl", "enhanced"))
    chosen = choose_images(before, after, 1)
    splits = splits_of(runs["enhanced"], dataset)
    [shown] = figures.draw_figures(chosen, runs["bl"], runs["enhanced"], splits, tmp_path)
    assert shown["blank"]
    assert [panel.note.endswith("\nno place raises its score") for panel in panels] == [False, True, True]


def test_names_on_the_page_are_text(finished, tmp_path):
    out, _ = finished
    summary = json.loads((out / "summary.json").read_text())
    summary["dataset"] = summary["images"][0]["image"]["path"] = "<script>alert(1)</script>"
    write_page(summary, out / "figures", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("gains", "compared"),
    [
        (
            (0.05, 0.02, 0.01),
            "2.0 points above: Continued training, 1.0 points above: U-Net + a fresh classifier",
        ),
        ((0.05, 0.0, -0.01), "level with: Continued training, 1.0 points below: U-Net + a fresh classifier"),
        ((-0.05, -0.06, -0.07), "6.0 points below: Continued training, 7.0 points below: U-Net + a fresh"),
    ],
)
def test_no_gain_is_claimed_for_a_classifier_that_may_be_changed_and_the_controls_are_named(
    finished, gains, compared
):
    _, result = finished
    names = ("bl", "trained-on", "fresh-classifier")
    made = [
        {"over": name, "metric": "gmean", "classes": "all", "mean": mean, "low": None, "high": None}
        for name, mean in zip(names, gains, strict=True)
    ]
    found = findings(result.summary | {"gains": made, "changes": [], "noise": []})
    assert found[0].startswith("In G-mean the enhanced images are 5.0 points")
    assert found[1].startswith(f"Compared with the controls they are {compared}")
    assert found[2].startswith("No gain is claimed: this classifier may be changed")
    assert len(found) == 3
    assert not any("interval" in sentence for sentence in found)


def test_a_gain_is_told_apart_by_rare_classes_and_the_others_and_doubted_by_its_interval(finished):
    _, result = finished
    known = {"over": "bl", "low": -0.01, "high": 0.03}
    gains = [
        known | {"metric": "gmean", "classes": "all", "mean": 0.01},
        known | {"metric": "recall", "classes": "minority", "mean": -0.02, "high": -0.01},
        known | {"metric": "recall", "classes": "majority", "mean": 0.04},
    ]
    shown = result.summary | {"gains": gains, "changes": [], "noise": []}
    words = findings(shown)
    assert words[0].endswith(
        "1.0 points above the classifier on the originals; the interval over repeats does not exclude zero."
    )
    assert words[2] == (
        "Recall of the rare classes is 2.0 points below that of the classifier, of the common classes 4.0 points "
        "above it."
    )
    gains[1]["high"] = 0.01
    assert (
        "2.0 points below that of the classifier (the interval does not exclude zero)" in findings(shown)[2]
    )
    assert len(findings(shown | {"rare": False})) == 2
