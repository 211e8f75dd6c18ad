"""The page about explained images: in a real browser, offline, with names that attack it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoise.datasets import SkippedFile
from counterpoise.inference import (
    Attention,
    ExplainedImage,
    Explanation,
    ModelFacts,
    View,
    build_explanation_page,
)
from counterpoise.inference import explanation_page as explain_page
from counterpoise.inference.explanation_page import groups_of

ATTACK = '<img src=x onerror="window.hacked=1">'


def write_pictures(folder: Path, count: int, *, side: int = 12) -> None:
    (folder / "parts").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        for part in ("input", "a", "b"):
            pixels = generator.integers(0, 256, (side, side, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"parts/{number}-{part}.png")


def image(number: int, *, predicted: str = "cat", true: str | None = "cat", **options: Any) -> ExplainedImage:
    views = tuple(
        View(
            predicted=predicted,
            probability=0.75,
            target=predicted,
            target_probability=0.75,
            blank=False,
            overlay=f"parts/{number}-{letter}.png",
        )
        for letter in "ab"[: 2 if "similarity" in options else 1]
    )
    return ExplainedImage(
        path=f"photos/{number}.png",
        true=true,
        figure=f"images/{number}.png",
        input=f"parts/{number}-input.png",
        feature_maps=(),
        views=views,
        **options,
    )


def explanation(folder: Path, images: list[ExplainedImage], *, models: int = 1) -> Explanation:
    facts = ModelFacts(
        run="runs/best",
        method="ados",
        network="lenet",
        layer="backbone",
        places=(5, 5),
        image_size=(28, 28),
    )
    return Explanation(
        folder=folder,
        method="Grad-CAM",
        meaning="how strongly the features at a place raise the score of the class",
        signed=False,
        models=(facts,) * models,
        attention=Attention.of(images, 0.5) if models > 1 else None,
        images=tuple(images),
        skipped=(),
    )


def test_one_model_is_sorted_by_right_and_wrong(tmp_path: Path) -> None:
    images = [image(0), image(1, predicted="dog"), image(2, true=None), image(3)]
    found = {
        group.title: [i.path for i in group.images] for group in groups_of(explanation(tmp_path, images))
    }
    assert found == {
        "Wrong": ["photos/1.png"],
        "Right": ["photos/0.png", "photos/3.png"],
        "Images": ["photos/2.png"],
    }


def test_two_models_are_sorted_by_likeness(tmp_path: Path) -> None:
    images = [image(i, similarity=s, same=s >= 0.5) for i, s in enumerate((0.9, -0.2, 0.5, 0.49))]
    groups = groups_of(explanation(tmp_path, images, models=2))
    assert [(group.title, [i.similarity for i in group.images]) for group in groups] == [
        ("Different attention", [-0.2, 0.49]),
        ("Same attention", [0.5, 0.9]),
    ]


def test_of_many_images_the_first_are_shown_and_the_others_linked(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(explain_page, "MOST_PICTURES", 3)
    write_pictures(tmp_path, 3)
    images = [image(0, predicted="dog"), *(image(i) for i in range(1, 6))]
    page = build_explanation_page(explanation(tmp_path, images), tmp_path / "explain.html").read_text()
    assert page.count("<img ") == 2 * 3
    assert "3 more, as links" in page
    assert all(f'href="images/{number}.png"' in page for number in range(6))


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1, side=600)
    page = build_explanation_page(explanation(tmp_path, [image(0)]), tmp_path / "explain.html")
    assert page.stat().st_size < 100_000
    assert "data:image/jpeg" in page.read_text()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two models, every name of which is markup."""
    folder = tmp_path_factory.mktemp("explained")
    write_pictures(folder, 2)
    images = []
    for number, similarity in enumerate((-0.25, 0.75)):
        plain = image(number, similarity=similarity, same=similarity > 0.5)
        views = tuple(
            view.model_copy(
                update={
                    "predicted": ATTACK,
                    "target": ATTACK,
                    "deletion": 0.125,
                    "insertion": 0.5,
                    "blank": True,
                }
            )
            for view in plain.views
        )
        changes = {"path": f"photos/{ATTACK}.png", "true": f"{ATTACK}!", "views": views}
        images.append(plain.model_copy(update=changes))
    scored = ModelFacts(
        run=ATTACK,
        method=ATTACK,
        network=ATTACK,
        layer=ATTACK,
        places=(1, 2),
        image_size=(3, 4),
        adjusted=True,
        random_deletion=0.25,
        random_insertion=0.375,
    )
    changes = {"models": (scored, scored), "skipped": (SkippedFile(ATTACK, ATTACK),)}
    made = explanation(folder, images, models=2).model_copy(update=changes)
    return build_explanation_page(made, folder / "explain.html")


def test_in_a_browser(hostile: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the `test` extra)")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs the program `chromium` on the PATH")
    faults: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": 400, "height": 800}).new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else faults.append(r.url))
        page.goto(hostile.as_uri())
        assert page.evaluate("window.hacked") is None
        widths = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth)")
        assert widths == [12] * 6
        words = " ".join(page.text_content("main").split())
        wide = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert faults == []
    assert wide <= 400
    assert f"true class {ATTACK}!" in words
    assert words.count(f"photos/{ATTACK}.png") == 2
    assert "deletion 0.125, insertion 0.500" in words
    assert "no region supports it" in words
    assert "correlation -0.25" in words
    assert words.index("Different attention") < words.index("Same attention")
    assert "(Spearman) is 0.50 or more" in words
    # The means of both models, beside those of random maps.
    for number in ("0.125", "0.250", "0.500", "0.375"):
        assert number in words
