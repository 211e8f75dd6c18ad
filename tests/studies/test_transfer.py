"""The study end to end on small images: what is copied, what moves, resuming, jobs, and the tables."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bars import make_dataset
from safetensors.torch import load_file
from typed import faults

from counterpoise.config import TransferConfig
from counterpoise.evaluation import mean_interval
from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.networks import cut, learned_layers
from counterpoise.studies import TransferStudy, run_study
from counterpoise.studies.transfer import study as cells_module
from counterpoise.studies.transfer.plan import Training, make_transfer_plan
from counterpoise.studies.transfer.results import TransferSummary
from counterpoise.studies.transfer.study import copy_layers, run_training, starting_network
from counterpoise.training import cpu_threads


def run_transfer(plan, dataset, out, **options):
    return run_study(TransferStudy(plan, dataset), out, **options)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


def plan_of(dataset, **changes):
    settings = {"task_split": "A=a,c,e;B=b,d,f", "layers": "2,7", "repeats": 2, "epochs": 2, "batch_size": 16}
    settings |= {
        "images_per_class": 12,
        "source_images_per_class": 0,
        "schedule": None,
        "source": "bars",
        "device": "cpu",
    }
    config = TransferConfig.of(**settings | changes)
    return make_transfer_plan(dataset, config, command="counterpoise transfer bars")


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("transfer") / "out"
    return out, run_transfer(plan_of(dataset), dataset, out)


def cell_state(plan, cell, dataset, out, monkeypatch):
    """The network of a training before and after it, and whether it was trained on precomputed outputs."""
    kept = {}
    real = cells_module.train_stage

    def train(stage, *rest):
        kept["shape"] = tuple(next(iter(stage.batches.epoch(0))).inputs.shape)
        return real(stage, *rest)

    def start(*args):
        kept["network"] = network = starting_network(*args)
        kept["before"] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        return network

    monkeypatch.setattr(cells_module, "train_stage", train)
    monkeypatch.setattr(cells_module, "starting_network", start)
    cells_module.cell_path(out, cell).unlink(missing_ok=True)
    run_training(plan, cell, dataset, out)
    return kept["before"], kept["network"].state_dict(), kept["shape"]


LAYER_NAMES = [*(f"backbone.{i}." for i in range(5)), "top.1.", "top.2."]


@pytest.mark.parametrize("treatment", ["BnB", "BnB+", "AnB", "AnB+"])
@pytest.mark.parametrize("n", [2, 7])
def test_the_first_layers_are_those_of_the_base_and_stay_only_if_frozen(
    dataset, finished, tmp_path, monkeypatch, treatment, n
):
    out, _ = finished
    base = load_file(out / "networks" / f"draw001-base{treatment[0]}.safetensors")
    monkeypatch.setattr(cells_module, "cell_path", lambda folder, cell: _redirected(folder, cell, tmp_path))
    before, after, shape = cell_state(plan_of(dataset), Training(1, treatment, n), dataset, out, monkeypatch)
    copied = tuple(LAYER_NAMES[:n])
    fresh = starting_network_of_nothing(dataset, out)
    for name, start in before.items():
        if name.startswith(copied) or name in ("mean", "std"):
            assert torch.equal(start, base[name]), name
            if not treatment.endswith("+") or name in ("mean", "std"):
                assert torch.equal(after[name], base[name]), name
            elif name.endswith("weight"):
                assert not torch.equal(after[name], base[name]), name
        elif name.endswith("weight"):
            assert torch.equal(start, fresh[name])
            assert not torch.equal(after[name], start), name
            if start.ndim > 1:
                assert start.shape != base[name].shape or not torch.equal(start, base[name]), name
    expected = {("+", 2): (1, 8, 8), ("+", 7): (1, 8, 8), ("B", 2): (64, 2, 2), ("B", 7): (256,)}
    assert shape == (16, *expected[treatment[-1], n])


def _redirected(folder, cell, tmp_path):
    place = folder if cell.is_base else tmp_path
    return place / "cells" / f"{cell.file_name}.json"


def starting_network_of_nothing(dataset, out):
    """What the layers that are not copied start from, in every training of draw 1."""
    plan = plan_of(dataset)
    images = plan.images(dataset, 1, "B")
    return starting_network(plan, Training(1, "AnB", 0), dataset, images, out).state_dict()


def test_training_on_outputs_computed_once_is_training_through_the_frozen_layers(
    dataset, finished, tmp_path, monkeypatch
):
    out, _ = finished
    # Not Adam, which blows up the rounding errors of gradients that are zero.
    plan, cell = plan_of(dataset, epochs=4, optimizer="sgd", lr=0.05), Training(0, "AnB", 3)
    monkeypatch.setattr(cells_module, "cell_path", lambda folder, cell: _redirected(folder, cell, tmp_path))
    _, once, _ = cell_state(plan, cell, dataset, out, monkeypatch)
    first = json.loads((tmp_path / "cells" / f"{cell.file_name}.json").read_text())
    real = cells_module.frozen_batches
    monkeypatch.setattr(cells_module, "frozen_batches", lambda *a, **k: real(*a, **k, max_bytes=0))
    _, through, _ = cell_state(plan, cell, dataset, out, monkeypatch)
    second = json.loads((tmp_path / "cells" / f"{cell.file_name}.json").read_text())
    for name, tensor in once.items():
        torch.testing.assert_close(through[name], tensor, rtol=1e-4, atol=1e-5)
    losses = [[epoch["loss"] for epoch in record["history"]] for record in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    # And so is a loop over whole images, written out, with as many threads: four epochs let rounding grow.
    with cpu_threads(1):
        assert _by_hand(plan, cell, dataset, out) == pytest.approx(losses[0], rel=1e-4)


def _by_hand(plan, cell, dataset, out):
    from counterpoise.training import seed_for

    images = plan.images(dataset, cell.repeat, "B")
    network = starting_network(plan, cell, dataset, images, out).train()
    pixels, labels = (
        torch.from_numpy(images.train.images).float() / 255,
        torch.from_numpy(images.train.labels),
    )
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    losses = []
    for epoch in range(4):
        order = np.random.default_rng([seed_for(plan.seed(cell.repeat), "order"), epoch]).permutation(
            len(labels)
        )
        total = 0.0
        for start in (0, 16, 32):
            batch = torch.from_numpy(order[start : start + 16])
            loss = torch.nn.functional.cross_entropy(network(pixels[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(labels))
    return losses


def test_copying_takes_statistics_and_normalisation_along(dataset):
    from counterpoise.networks import create_network

    def new(seed, classes):
        return create_network(
            "alexnet8", num_classes=classes, in_channels=1, image_size=(8, 8), seed=seed, mean=0.1 * seed
        )

    source, target = new(1, 3), new(2, 5)
    for _ in range(3):
        source.train()(torch.rand(8, 1, 8, 8))
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    copy_layers(source, target, 4)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(cut(target.eval(), 4)[0](x), cut(source.eval(), 4)[0](x))
    rest = [name for layer in learned_layers(target)[4:] for name in [layer.name]]
    for name, tensor in target.state_dict().items():
        if name.startswith((*rest, "classifier")):
            assert torch.equal(tensor, before[name])


# --- the study ----------------------------------------------------------------------------------------------


def read_results(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_training_is_there_once_and_each_draw_has_two_bases(dataset, finished):
    out, _ = finished
    plan = plan_of(dataset)
    assert len(plan.cells) == 2 * (2 + 4 * 2)
    assert {p.stem for p in (out / "cells").iterdir()} == {cell.file_name for cell in plan.cells}
    assert len(list((out / "networks").iterdir())) == 4


def test_results_are_the_records_in_long_format(finished):
    out, _ = finished
    rows = read_results(out)
    assert list(rows[0]) == [
        "dataset",
        "split",
        "draw",
        "seed",
        "treatment",
        "layers",
        "classes",
        "metric",
        "value",
    ]
    values = {
        (int(r["draw"]), r["treatment"], int(r["layers"]), r["classes"], r["metric"]): float(r["value"])
        for r in rows
    }
    assert len(values) == len(rows)
    for path in (out / "cells").iterdir():
        record = json.loads(path.read_text())
        key = (record["draw"], record["treatment"], record["layers"])
        matrix = np.array(record["scores"]["confusion_matrix"])
        assert values[(*key, "all", "accuracy")] == pytest.approx(np.trace(matrix) / matrix.sum())
        assert matrix.sum() == record["images"]["test"] == 30
        assert record["classes"] == (["a", "c", "e"] if record["treatment"] == "baseA" else ["b", "d", "f"])
        assert record["images"]["train"] == (72 if record["treatment"] == "baseA" else 36)


def test_the_summary_is_means_and_intervals_and_paired_differences(finished):
    out, result = finished
    accuracy = {
        (r["treatment"], int(r["layers"]), int(r["draw"])): float(r["value"])
        for r in read_results(out)
        if (r["classes"], r["metric"]) == ("all", "accuracy")
    }
    summary = json.loads((out / "summary.json").read_text())
    assert summary == result.summary
    assert faults(summary, TransferSummary) == []
    assert [(c["treatment"], c["layers"]) for c in summary["curves"]] == [
        ("baseA", 0),
        ("baseB", 0),
        *((t, n) for t in ("BnB", "BnB+", "AnB", "AnB+") for n in (2, 7)),
    ]
    for curve in summary["curves"]:
        key = (curve["treatment"], curve["layers"])
        values = [accuracy[(*key, draw)] for draw in (0, 1)]
        assert curve["values"] == pytest.approx(values)
        assert [curve[k] for k in ("mean", "low", "high", "n")] == pytest.approx(
            list(mean_interval(values))[:4]
        )
        if curve["treatment"] not in ("baseA", "baseB"):
            gains = [accuracy[(*key, d)] - accuracy["baseB", 0, d] for d in (0, 1)]
            assert curve["difference"]["mean"] == pytest.approx(np.mean(gains))


def test_findings_are_what_the_numbers_say(finished):
    out, result = finished
    accuracy = {
        (r["treatment"], int(r["layers"]), int(r["draw"])): float(r["value"])
        for r in read_results(out)
        if (r["classes"], r["metric"]) == ("all", "accuracy")
    }
    first, later, tuned, undone = result.summary["findings"]

    def mean(function):
        return np.mean([function(draw) for draw in (0, 1)])

    assert first["measure"] == "A2B - baseB"
    assert first["mean"] == pytest.approx(mean(lambda d: accuracy["AnB", 2, d] - accuracy["baseB", 0, d]))
    assert later["measure"] == "A2B - A7B"
    assert later["mean"] == pytest.approx(mean(lambda d: accuracy["AnB", 2, d] - accuracy["AnB", 7, d]))
    assert tuned["mean"] == pytest.approx(
        mean(lambda d: (accuracy["AnB+", 2, d] + accuracy["AnB+", 7, d]) / 2 - accuracy["baseB", 0, d])
    )
    assert undone["mean"] == pytest.approx(
        mean(lambda d: (accuracy["BnB+", 2, d] + accuracy["BnB+", 7, d]) / 2 - accuracy["baseB", 0, d])
    )
    assert undone["at_least"] == -0.02
    for finding in (first, later, tuned, undone):
        assert finding["holds"] is (finding["mean"] >= finding["at_least"])
        assert finding["certain"] is not (finding["low"] < finding["at_least"] <= finding["high"])


@pytest.mark.slow
def test_two_jobs_give_the_numbers_of_one_and_say_how_far_they_are(dataset, finished, tmp_path):
    out, _ = finished
    events = []
    run_transfer(plan_of(dataset), dataset, tmp_path / "out", jobs=2, on_event=events.append)
    assert (tmp_path / "out/results.csv").read_bytes() == (out / "results.csv").read_bytes()
    ends = [event.key for event in events if event.step is None]
    assert sorted(ends) == sorted(cell.file_name for cell in plan_of(dataset).cells)
    assert {event.key for event in events} == set(ends)


def stamps(out):
    return {
        path: path.stat().st_mtime_ns for place in ("cells", "networks") for path in (out / place).iterdir()
    }


def test_finished_trainings_are_not_run_again_and_layers_and_draws_can_be_added(dataset, tmp_path):
    out = tmp_path / "out"
    run_transfer(plan_of(dataset, repeats=1, layers="2"), dataset, out)
    before = stamps(out)
    assert len(before) == 2 + 4 + 2
    assert not (out / "checkpoints").exists()
    run_transfer(plan_of(dataset, repeats=2, layers="2,7"), dataset, out)
    after = stamps(out)
    assert len(after) == 20 + 4
    assert {path: after[path] for path in before} == before


def test_what_was_added_later_is_what_comes_at_once(dataset, finished, tmp_path):
    out = tmp_path / "out"
    run_transfer(plan_of(dataset, repeats=1, layers="7"), dataset, out)
    run_transfer(plan_of(dataset), dataset, out)
    assert (out / "results.csv").read_bytes() == (finished[0] / "results.csv").read_bytes()


KILLED = """
    import os
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys
    from pathlib import Path
    sys.path[:0] = {paths!r}
    import test_transfer
    dataset = test_transfer.make_dataset()
    if __name__ == "__main__":
        test_transfer.run_transfer(test_transfer.plan_of(dataset), dataset, Path({out!r}), jobs={jobs})
"""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.slow
def test_a_killed_study_resumes_to_the_same_table(dataset, finished, tmp_path, jobs):
    out, script = tmp_path / "killed", tmp_path / "script.py"
    paths = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / n) for n in (".", "helpers"))]
    script.write_text(textwrap.dedent(KILLED).format(paths=paths, out=str(out), jobs=jobs))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while len(list(out.glob("cells/*.json"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = stamps(out)
    assert 5 <= len(list(out.glob("cells/*.json"))) < 20
    assert not (out / "results.csv").exists()
    run_transfer(plan_of(dataset), dataset, out, jobs=jobs)
    assert {path: stamps(out)[path] for path in before if path.suffix == ".json"} == {
        path: stamp for path, stamp in before.items() if path.suffix == ".json"
    }
    assert (out / "results.csv").read_bytes() == (finished[0] / "results.csv").read_bytes()


def test_a_training_killed_between_epochs_goes_on_to_the_same_bits(dataset, finished, tmp_path, monkeypatch):
    from counterpoise.training import ProgressCallback

    class Killed(Exception):
        pass

    class KillAt(ProgressCallback):
        def update(self, step):
            if step.epoch == 2:
                raise Killed

    plan, cell = plan_of(dataset), Training(0, "baseA")
    with pytest.raises(Killed):
        run_training(plan, cell, dataset, tmp_path, on_progress=KillAt())
    assert (tmp_path / "checkpoints/draw000-baseA.safetensors").exists()
    epochs = []
    real = cells_module.train_stage

    def train(stage, *rest):
        monkeypatch.setattr(stage.batches, "epoch", _counting(stage.batches.epoch, epochs))
        return real(stage, *rest)

    monkeypatch.setattr(cells_module, "train_stage", train)
    run_training(plan, cell, dataset, tmp_path)
    assert epochs == [1]
    name = "networks/draw000-baseA.safetensors"
    whole, resumed = load_file(finished[0] / name), load_file(tmp_path / name)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def _counting(epoch_of, epochs):
    def epoch(number):
        epochs.append(number)
        return epoch_of(number)

    return epoch


def test_a_failed_base_is_said_and_does_not_stop_the_other_draw(dataset, tmp_path, monkeypatch):
    from counterpoise.exceptions import TrainingError
    from counterpoise.studies.transfer import study as study_module

    real = study_module.run_training

    def fail_once(plan, cell, *args, **kwargs):
        if cell == Training(1, "baseA"):
            raise TrainingError("the train loss became nan at step 3")
        return real(plan, cell, *args, **kwargs)

    monkeypatch.setattr(study_module, "run_training", fail_once)
    result = run_transfer(plan_of(dataset, layers="7"), dataset, tmp_path / "out")
    failed = {(f["draw"], f["name"]): f["error"] for f in result.summary["failed"]}
    assert set(failed) == {(1, "baseA"), (1, "A7B"), (1, "A7B+")}
    assert failed[1, "A7B"] == "baseA is not there to start from: its training failed"
    counts = {(c["treatment"], c["layers"]): c["n"] for c in result.summary["curves"]}
    assert counts["AnB", 7] == 1
    assert counts["BnB", 7] == 2


def test_a_folder_belongs_to_one_study(dataset, finished, tmp_path):
    out, _ = finished
    before = (out / "results.csv").read_bytes()
    changes = [
        {"epochs": 3},
        {"images_per_class": 8},
        {"task_split": "A=a,b;B=c,d"},
        {"backbone": "tinynet", "layers": "1"},
    ]
    for change in changes:
        with pytest.raises(RunFolderError, match="holds another transfer study"):
            run_transfer(plan_of(dataset, **change), dataset, out)
    assert (out / "results.csv").read_bytes() == before
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"not empty \(letter\.txt"):
        run_transfer(plan_of(dataset), dataset, tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": "8"}, "`layers` 8: alexnet8 has 7 learned layers below its head; give 1 to 7"),
        ({"backbone": "convnet", "layers": "1"}, "convnet needs images of at least 16x16"),
        ({"backbone": "resnet18", "layers": "1"}, "resnet18 is no chain of layers"),
        ({"backbone": "alexnett"}, "did you mean 'alexnet'"),
        ({"repeats": 0}, "`repeats` 0"),
        ({"images_per_class": 1}, "`images_per_class` 1: at least 2"),
        ({"source_images_per_class": -2}, "`source_images_per_class` -2"),
        ({"test_fraction": 0.3}, "has test images of its own"),
        ({"epochs": 0}, "`epochs` 0: expected at least 1"),
        ({"precision": "16-mixed"}, "16-mixed needs a GPU"),
        ({"task_split": "natural"}, "known for CIFAR-10 alone"),
    ],
)
def test_a_wrong_plan_is_refused(dataset, changes, words):
    with pytest.raises(InputError, match=words):
        plan_of(dataset, **changes)


def test_every_setting_changes_the_identity(dataset):
    plan = plan_of(dataset)
    others = [
        replace(plan, split="random"),
        replace(plan, network="tinynet"),
        replace(plan, images_per_class=None),
        replace(plan, source_images_per_class=5),
        replace(plan, test_fraction=0.3),
        replace(plan, config=plan.config.model_copy(update={"seed": 1})),
        replace(plan, fingerprint="0"),
        replace(plan, fit="pad"),
        replace(plan, fit="stretch"),
    ]
    assert len({plan.identity, *(other.identity for other in others)}) == len(others) + 1
    assert replace(plan, layers=(1,), repeats=(0, 1, 2), source="x", command="y").identity == plan.identity


# --- picture and page ---------------------------------------------------------------------------------------


def test_the_figure_has_the_lectures_markers(finished):
    from matplotlib.figure import Figure

    from counterpoise.studies.transfer.page import LOOKS, _draw_curve

    _, result = finished
    shown = {}
    for treatment in LOOKS:
        axes = Figure().add_subplot()
        _draw_curve(axes, treatment, [c for c in result.summary["curves"] if c["treatment"] == treatment])
        line = next(line for line in axes.lines if line.get_label().startswith(f"{treatment}:"))
        pluses = [line for line in axes.lines if line.get_marker() == "+"]
        means = [c["mean"] for c in result.summary["curves"] if c["treatment"] == treatment]
        assert list(line.get_ydata()) == means
        assert all(list(plus.get_ydata()) == means for plus in pluses)
        shown[treatment] = (line.get_marker(), len(pluses), line.get_markerfacecolor())
    assert {t: look[:2] for t, look in shown.items()} == {
        "baseB": ("o", 0),
        "BnB": ("o", 0),
        "BnB+": ("o", 1),
        "AnB": ("D", 0),
        "AnB+": ("D", 1),
    }
    assert shown["baseB"][2] == "white"
    red, blue = (tuple(int(shown[t][2][i : i + 2], 16) for i in (1, 3, 5)) for t in ("AnB", "BnB"))
    assert red[0] > 2 * max(red[1:])
    assert blue[2] > 2 * max(blue[:2])


def test_the_legend_shows_every_marker_as_it_is_drawn(finished, tmp_path, monkeypatch):
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from counterpoise.studies.transfer.page import LOOKS, draw_figure

    _, result = finished
    legends = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (legends.extend(self.legends), save(self, *a, **k))
    )
    draw_figure(result.summary | {"draws": 2}, tmp_path / "two.png")
    draw_figure(result.summary | {"draws": 1}, tmp_path / "one.png")
    two, one = ([text.get_text() for text in legend.get_texts()] for legend in legends)
    assert two[:-1] == one == [look[-1] for look in LOOKS.values()]
    assert "one repeat" in two[-1]
    assert "95 % interval" in two[-1]
    markers = [line.get_marker() for line in legends[1].findobj(Line2D)]
    assert [mark for mark in markers if mark not in ("None", "")] == ["o", "o", "o", "+", "D", "D", "+"]


def test_the_page_holds_its_figure_and_escapes_names(finished, tmp_path):
    from counterpoise.studies.transfer.page import write_page

    out, result = finished
    page = (out / "transfer.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert not any(word in page for word in ("http://", "https://", "<script", 'src="/'))
    assert "counterpoise transfer bars" in page
    hostile = result.summary | {
        "dataset": "<script>alert(1)</script>",
        "failed": [{"draw": 0, "name": "A2B", "error": "<img src=x onerror=alert(1)>"}],
    }
    write_page(hostile, out / "transfer.png", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror" in page
