"""The page in a real browser, offline: only its own scripts run, its numbers are those of the files."""

from __future__ import annotations

import csv
import html
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_study_folder import BAD_FILE, CLASSES, METHODS, make_predictions, write_held_out, write_run
from safetensors.numpy import load_file

from counterpoise.balance.adjust import LogitAdjustment
from counterpoise.report.comparison_page import build_report
from counterpoise.report.tables import tuned_thresholds
from counterpoise.runs import RunFolder

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the `test` extra)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the program `chromium` on the PATH")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update"]


class Watched:
    """A page, and everything on it that should not have happened."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self._request(request.url))

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.faults.append(f"request: {url}")

    def open(self, path: Path) -> Any:
        self.faults.clear()
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report([study_folder], tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def watched(browser: Any, report: Path) -> Iterator[Watched]:
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.open(report)
    yield watched
    context.close()


@pytest.fixture
def page(watched: Watched) -> Iterator[Any]:
    """The study's page, opened once; a test that leaves a fault behind fails."""
    yield watched.page
    assert watched.faults == []


def result_means(folder: Path) -> dict[tuple[str, str, str], float]:
    values = defaultdict(list)
    with (folder / "results.csv").open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            values[row["method"], row["classes"], row["metric"]].append(float(row["value"]))
    return {key: float(np.mean(each)) for key, each in values.items()}


def probabilities_of(folder: Path, method: str, draw: int) -> tuple[np.ndarray, np.ndarray]:
    with (folder / "runs" / f"{method}-{draw}" / "predictions.csv").open(
        encoding="utf-8", newline=""
    ) as handle:
        rows = list(csv.reader(handle))[1:]
    return np.array([CLASSES.index(row[1]) for row in rows]), np.array([row[3:] for row in rows], dtype=float)


def choose(page: Any, method: str, draw: int) -> None:
    page.select_option("#method", method)
    page.select_option("#draw", str(draw))


def test_every_chart_is_drawn(page: Any) -> None:
    for name in ("distribution", "overview", "confusion", "roc", "loss", "scores", "embedding"):
        box = page.locator(f"#chart-{name} svg.main-svg").first.bounding_box()
        assert box["width"] > 100, name
        assert box["height"] > 100, name


def test_table_numbers_are_those_of_results_csv(page: Any, study_folder: Path) -> None:
    cells = page.eval_on_selector_all(
        "td[data-metric]", "cells => cells.map(c => ({...c.dataset, text: c.firstChild.textContent}))"
    )
    expected = result_means(study_folder)
    shown = {(cell["method"], cell["classes"], cell["metric"]): cell for cell in cells}
    assert set(shown) == {key for key in expected if key[1] in ("all", "minority", "majority")}
    for key, cell in shown.items():
        assert float(cell["value"]) == pytest.approx(expected[key], abs=1e-12)
        assert cell["text"] == f"{expected[key]:.3f}"


def test_intervals_are_those_of_the_summary(page: Any, study_folder: Path) -> None:
    summary = json.loads((study_folder / "summary.json").read_text(encoding="utf-8"))
    given = summary["methods"][1]["scores"]["minority"]["recall"]
    cell = page.locator('td[data-method="ados"][data-classes="minority"][data-metric="recall"] small')
    assert cell.text_content() == f"{given['low']:.3f}–{given['high']:.3f}"


def test_the_best_of_a_column_is_marked(page: Any, study_folder: Path) -> None:
    means = result_means(study_folder)
    for metric in ("recall", "gmean"):
        best = max(METHODS, key=lambda method, metric=metric: means[method, "minority", metric])
        marked = page.locator(f'td.best[data-classes="minority"][data-metric="{metric}"]')
        assert [cell.get_attribute("data-method") for cell in marked.all()] == [best]


@pytest.mark.parametrize(
    ("method", "draw", "cls", "step"), [("ados", 0, 1, 30), ("bl", 1, 2, 73), ("bl", 0, 3, 0)]
)
def test_the_slider_moves_the_matrix(
    page: Any, study_folder: Path, method: str, draw: int, cls: int, step: int
) -> None:
    choose(page, method, draw)
    page.select_option("#threshold-class", str(cls))
    page.fill("#threshold", "50")
    page.fill("#threshold", str(step))
    page.wait_for_function(
        "text => document.getElementById('threshold-value').textContent === text", arg=f"{step / 100:.2f}"
    )
    true, probabilities = probabilities_of(study_folder, method, draw)
    called = probabilities[:, cls] >= step / 100
    counts = {
        "tp": int((called & (true == cls)).sum()),
        "fp": int((called & (true != cls)).sum()),
        "fn": int((~called & (true == cls)).sum()),
        "tn": int((~called & (true != cls)).sum()),
    }
    shown = page.eval_on_selector_all(
        "#thresholds [data-cell]",
        "cells => Object.fromEntries(cells.map(c => [c.dataset.cell, c.dataset.value]))",
    )
    assert {key: int(shown[key]) for key in counts} == counts
    assert float(shown["recall"]) == counts["tp"] / 60
    assert float(shown["specificity"]) == counts["tn"] / 180
    marker = page.evaluate("document.getElementById('chart-roc').data.at(-1)")
    assert marker["x"][0] == pytest.approx(counts["fp"] / 180)
    assert marker["y"][0] == pytest.approx(counts["tp"] / 60)


def held_out_of(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Classes and probabilities of the images that a run kept for calibration, from its file."""
    found = load_file(run / "calibration.safetensors")
    powers = np.exp(found["logits"].astype(float))
    return found["labels"], powers / powers.sum(axis=1, keepdims=True)


def youden(true: np.ndarray, scores: np.ndarray, cls: int) -> np.ndarray:
    """Youden's J at each step of the slider, slowly."""
    found = []
    for step in range(101):
        called = [score >= step / 100 for score in scores[:, cls]]
        own = [yes for yes, label in zip(called, true, strict=True) if label == cls]
        others = [yes for yes, label in zip(called, true, strict=True) if label != cls]
        found.append(sum(own) / len(own) - sum(others) / len(others))
    return np.array(found)


@pytest.mark.parametrize(("method", "draw"), [("ados", 0), ("ados", 1), ("bl", 0)])
def test_the_best_balance_is_tuned_on_validation_images_and_never_on_test_images(
    page: Any, study_folder: Path, method: str, draw: int
) -> None:
    choose(page, method, draw)
    held_out = held_out_of(study_folder / "runs" / f"{method}-{draw}")
    tested = probabilities_of(study_folder, method, draw)
    differ = 0
    for cls in range(4):
        page.select_option("#threshold-class", str(cls))
        page.click("#youden")
        chosen = int(page.input_value("#threshold"))
        balance = youden(*held_out, cls)
        assert balance[chosen] == pytest.approx(balance.max())
        on_test = youden(*tested, cls)
        differ += on_test[chosen] < on_test.max() - 1e-9
        # What is shown at it is of the test images.
        recall = float(page.locator("#thresholds [data-cell='recall']").get_attribute("data-value"))
        assert recall == pytest.approx(np.mean(tested[1][tested[0] == cls, cls] >= chosen / 100))
        words = page.locator("#tuned-words").inner_text()
        assert "tuned on 80 validation images, 20 of them of this class" in words
    assert differ >= 2  # a button that looks at the test images fails here


def test_without_validation_images_there_is_no_button_but_a_reason(page: Any) -> None:
    choose(page, "mixup", 0)
    assert not page.locator("#youden").is_visible()
    assert "no predictions of images other than test images" in page.locator("#tuned-words").inner_text()
    page.fill("#threshold", "30")  # the slider itself stays
    choose(page, "ados", 0)
    assert page.locator("#youden").is_visible()


def test_a_class_without_validation_images_has_no_button(browser: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "run", "bl", 0)
    true, probabilities = make_predictions(np.random.default_rng(0), 1.0, 4, 5)
    kept = true != 2
    write_held_out(tmp_path / "run", true[kept], probabilities[kept])
    context = browser.new_context(offline=True)
    watched = Watched(context.new_page())
    page = watched.open(build_report([tmp_path / "run"], tmp_path / "one.html"))
    words = page.locator("#tuned-words")
    # Fewer than the record's validation images: these are training images, predicted by models without them.
    assert "15 training images, predicted by models that did not learn from them" in words.inner_text()
    page.select_option("#threshold-class", "2")
    assert not page.locator("#youden").is_visible()
    assert "none is of this class" in words.inner_text()
    assert watched.faults == []
    context.close()


def test_the_threshold_of_an_adjusted_run_is_for_its_adjusted_probabilities(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "bl", 0)
    run = tmp_path / "run" / "run.json"
    before = tuned_thresholds(RunFolder.open(run.parent))["steps"]
    state = LogitAdjustment(tau=1.0).fit(None, None, [400, 20, 400, 40]).get_state()
    run.write_text(json.dumps(json.loads(run.read_text()) | {"adjust": state}))
    adjusted = RunFolder.open(run.parent)
    true, probabilities = held_out_of(run.parent)
    weighted = probabilities / np.array([400, 20, 400, 40])
    weighted /= weighted.sum(axis=1, keepdims=True)
    steps = tuned_thresholds(adjusted)["steps"]
    assert steps != before
    for cls, step in enumerate(steps):
        balance = youden(true, weighted, cls)
        assert balance[step] == pytest.approx(balance.max())


def test_scores_of_validation_images_are_called_too_high(browser: Any, tmp_path: Path) -> None:
    """Runs without test images: the images that chose the winner are those that it is scored on."""
    for method in ("bl", "ados"):
        folder = tmp_path / method
        write_run(folder, method, 0)
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps(metrics | {"test": None}))
        (folder / "predictions.csv").unlink()
    path = build_report([tmp_path / "bl", tmp_path / "ados"], tmp_path / "page.html")
    text = html.unescape(path.read_text(encoding="utf-8"))
    assert "The test images were not used" not in text
    assert (
        "There are no test images: the same validation images chose it, so its scores tend to be too high"
        in text
    )
    alone = html.unescape(build_report([tmp_path / "bl"], tmp_path / "one.html").read_text(encoding="utf-8"))
    assert "There are no test images: scores are of validation images" in alone
    record = json.loads((tmp_path / "bl" / "run.json").read_text())
    record["training"]["select"] = "best"
    (tmp_path / "bl" / "run.json").write_text(json.dumps(record))
    alone = html.unescape(build_report([tmp_path / "bl"], tmp_path / "one.html").read_text(encoding="utf-8"))
    assert "scores are of validation images, which also chose the epoch that was saved" in alone


@pytest.mark.parametrize(("method", "draw"), [("ados", 0), ("bl", 0), ("mixup", 1)])
def test_choosing_a_run_swaps_matrix_and_classes(
    page: Any, study_folder: Path, method: str, draw: int
) -> None:
    choose(page, method, draw)
    scores = json.loads((study_folder / "runs" / f"{method}-{draw}" / "metrics.json").read_text())["test"]
    drawn = page.evaluate("document.getElementById('chart-confusion').data")
    matrix = np.array(scores["confusion_matrix"])
    assert [int(text) for text in drawn[1]["text"]] == matrix.ravel().tolist()
    np.testing.assert_allclose(drawn[0]["z"], matrix / matrix.sum(axis=1, keepdims=True))
    rows = page.eval_on_selector_all(
        "#classes tbody tr", "rows => rows.map(r => [...r.cells].slice(2).map(c => Number(c.dataset.value)))"
    )
    names = ("support", "tp", "fp", "fn", "tn", "precision", "recall", "specificity", "f1", "auc")
    for row, record in zip(rows, scores["per_class"], strict=True):
        assert row == pytest.approx([record[name] for name in names])
    assert METHODS[method] in page.locator("#confusion .which").text_content()


def test_names_are_shown_and_not_run(page: Any) -> None:
    choose(page, "ados", 0)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main b:has-text('Mixup'), main i, main u, img[src='x']").count() == 0
    assert page.locator("#threshold-class option").all_text_contents() == CLASSES
    names = page.eval_on_selector_all("#classes tbody .name", "all => all.map(e => e.textContent)")
    assert names == CLASSES
    assert page.locator("#method option").all_text_contents()[2] == "<b>Mixup</b> (mixup)"
    assert BAD_FILE in page.locator("#gallery .path").first.text_content()
    drawn = page.locator("#chart-distribution .ytick text").all_text_contents()
    assert drawn == ["healthy", "<script>ale…)</script>", CLASSES[2], "benign"]
    everything = page.locator("body").inner_text()
    assert "&lt;" not in everything
    assert "&amp;" not in everything


def test_hover_texts_show_names_literally(page: Any) -> None:
    choose(page, "ados", 0)
    page.locator("#chart-confusion").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """() => {
        const box = document.getElementById("chart-confusion"), at = box.getBoundingClientRect();
        const {xaxis, yaxis} = box._fullLayout;
        return [at.x + xaxis._offset + xaxis.d2p(2), at.y + yaxis._offset + yaxis.d2p(1)];
    }"""
    )
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y)
    hover = page.locator("#chart-confusion .hoverlayer .hovertext").first
    hover.wait_for()
    text = hover.text_content()
    assert "true: <script>a" in text
    assert "%{x}" in text
    assert "&" not in text.replace(" & ", "")


def test_rows_sort_by_a_heading(page: Any, study_folder: Path) -> None:
    means = result_means(study_folder)
    table = page.locator('[data-group="all"] table')
    heading = table.locator("thead th", has_text="Recall")
    for order, reverse in (("descending", True), ("ascending", False)):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        shown = table.locator("td[data-metric='recall']").evaluate_all(
            "cells => cells.map(c => c.dataset.method)"
        )
        assert shown == sorted(METHODS, key=lambda method: means[method, "all", "recall"], reverse=reverse)


def test_tabs_show_one_group_of_classes(page: Any) -> None:
    page.click("#method-tabs [data-group='minority']")
    visible = [each.get_attribute("data-group") for each in page.locator(".group-table:visible").all()]
    assert visible == ["minority"]


def test_synthetic_points_have_their_own_shape(page: Any) -> None:
    choose(page, "ados", 0)
    traces = page.evaluate("document.getElementById('chart-embedding').data")
    shapes = {trace["name"].endswith(", synthetic"): trace["marker"]["symbol"] for trace in traces}
    assert shapes[True] != shapes[False]
    assert sum(len(trace["x"]) for trace in traces) == 160
    assert sum(len(trace["x"]) for trace in traces if trace["name"].endswith(", synthetic")) == 40


def test_only_pictures_in_data_uris_are_shown(page: Any) -> None:
    choose(page, "ados", 0)
    sources = page.locator("#gallery img").evaluate_all(
        "all => all.map(i => [i.src.slice(0, 15), i.alt !== ''])"
    )
    assert sources
    assert all(source == ["data:image/png;", True] for source in sources)
    assert page.locator("#gallery .gap").count() == 1
    assert page.locator("#gallery img").first.evaluate("i => i.decode().then(() => i.naturalWidth)") == 28


def test_the_draw_of_the_data_chart_can_be_chosen(page: Any) -> None:
    page.select_option("#distribution-draw", "1")
    bars = page.evaluate("document.getElementById('chart-distribution').data.map(t => t.x)")
    assert sorted(count for trace in bars for count in trace) == [20, 40, 400, 400]
    assert page.locator("#chart-distribution .ytick").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Any, report: Path, scheme: str) -> None:
    context = browser.new_context(offline=True, viewport={"width": 420, "height": 800}, color_scheme=scheme)
    watched = Watched(context.new_page())
    page = watched.open(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert watched.faults == []
    context.close()


def test_a_single_run_makes_a_page(browser: Any, study_folder: Path, tmp_path: Path) -> None:
    path = build_report([study_folder / "runs" / "ados-1"], tmp_path / "one.html", title="A </title> & more")
    context = browser.new_context(offline=True)
    watched = Watched(context.new_page())
    page = watched.open(path)
    assert page.title() == "A </title> & more"
    assert page.locator("#chart-overview").count() == 0
    assert page.locator("td[data-metric] small").count() > 0  # intervals over images
    assert "single repeat" in page.locator("#methods").inner_text()
    assert page.locator("#chart-roc svg.main-svg").first.is_visible()
    assert watched.faults == []
    context.close()
