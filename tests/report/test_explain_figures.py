"""The pictures: their numbers are those of the arrays, their words those given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

from counterpoise.exceptions import InputError, RunFolderError
from counterpoise.explain.differences import pixel_difference
from counterpoise.report.kit.pictures import (
    Panel,
    difference_figure,
    explanation_figure,
    feature_map_figure,
    legend_colors,
    overlay,
    picture,
    save_figure,
)

STRANGE = "c$a_t$ <b>&"


def words_of(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_pixel_difference():
    generator = np.random.default_rng(0)
    old, new = (generator.integers(0, 256, (2, 3, 4, 5)).astype(np.uint8) for _ in range(2))
    found = pixel_difference(old, new)
    for n, c, row, column in np.ndindex(old.shape):
        expected = int(new[n, c, row, column]) - int(old[n, c, row, column])
        assert found.signed[n, c, row, column] == pytest.approx(expected / 255, abs=1e-6)
    for n, row, column in np.ndindex(2, 4, 5):
        expected = sum(abs(found.signed[n, c, row, column]) for c in range(3)) / 3
        assert found.strength[n, row, column] == pytest.approx(expected, abs=1e-6)
    floats = pixel_difference(old / 255, new / 255)
    np.testing.assert_allclose(floats.signed, found.signed, atol=1e-6)
    with pytest.raises(InputError, match="expected the same"):
        pixel_difference(old, new[:1])


@given(st.integers(0, 255), st.floats(0, 1))
def test_overlay_mixes_grey_and_the_colour_of_the_value(brightness, value):
    image = np.full((1, 1, 2), brightness, np.uint8)
    found = overlay(image, np.array([[value, 1.0]]))[0, 0]
    amount = 0.25 + 0.5 * value
    expected = (1 - amount) * brightness + amount * 255 * np.array(colormaps["cividis"](value)[:3])
    np.testing.assert_allclose(found, expected, atol=1)


def test_overlay_of_what_speaks_against():
    image = np.full((3, 1, 3), 128, np.uint8)
    map = np.array([[-2.0, 0.0, 1.0]])
    against, nothing, for_it = overlay(image, map, signed=True)[0].astype(int)
    assert against[2] > against[1]  # purple
    assert for_it[0] > for_it[2]  # orange
    assert np.ptp(nothing) <= 2  # grey
    clipped = overlay(image, map)[0]
    assert np.array_equal(clipped[0], clipped[1])  # below zero is nothing
    blank = overlay(image, np.zeros((1, 3)))[0]
    assert (blank == blank[0]).all()


def test_the_overlay_keeps_its_brightness_apart_without_colours():
    """The more, the brighter: what counts can be told from the rest also in grey."""
    image = np.full((3, 1, 50), 128, np.uint8)
    grey = np.asarray(Image.fromarray(overlay(image, np.linspace(0, 1, 50)[None])).convert("L"))[0]
    assert (np.diff(grey.astype(int)) >= 0).all()
    assert grey[-1] - grey[0] > 80


def test_an_explanation_says_all_that_it_is_given(tmp_path):
    pixels = np.zeros((8, 6, 3), np.uint8)
    panels = [
        Panel(pixels, "input", "truly dog"),
        Panel(pixels, f"{STRANGE} 93.1 %", "A"),
        Panel(pixels, "owl 51.0 %", "B"),
    ]
    figure = explanation_figure(panels, signed=True, legend="what speaks against and for the class")
    words = words_of(figure)
    for panel in panels:
        assert panel.title in words
        assert panel.note in words
    assert {"most against", "nothing", "most for", "what speaks against and for the class"} <= set(words)
    save_figure(figure, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot write"):
        save_figure(figure, tmp_path / "file/a.png")


def test_a_note_of_two_lines_does_not_touch_the_legend():
    pixels = np.zeros((8, 8, 3), np.uint8)
    panels = [Panel(pixels, "input"), Panel(pixels, "owl 51.0 %", "A: a run\nno place speaks for it")]
    figure = explanation_figure(panels, signed=False, legend="what speaks for the class")
    figure.canvas.draw()
    _, panel, legend = figure.axes
    note = panel.xaxis.label.get_window_extent()
    assert note.y0 > legend.get_tightbbox().y1
    assert legend.get_tightbbox().y0 >= 0


def test_a_difference_is_drawn_with_its_own_scale():
    old = np.full((3, 2, 2), 100, np.uint8)
    new = old.copy()
    new[:, 0, 0] = 151  # 0.2 brighter
    new[:, 1, 1] = 49
    new[0, 0, 1] = 151  # one colour of three
    figure = difference_figure(old, new, old_title=f"old: {STRANGE}")
    signed, strength = (axes.images[0] for axes in figure.axes[2:4])
    np.testing.assert_allclose(signed.get_array(), [[0.2, 0.2 / 3], [0, -0.2]], atol=1e-6)
    np.testing.assert_allclose(strength.get_array(), [[0.2, 0.2 / 3], [0, 0.2]], atol=1e-6)
    assert signed.get_clim() == pytest.approx((-0.2, 0.2))
    assert {f"old: {STRANGE}", "brighter\n+0.20", "darker\n−0.20"} <= set(words_of(figure))
    difference_figure(old, old).canvas.draw()


def test_feature_maps_side_by_side_have_one_scale_and_the_most_changed_close_up():
    generator = np.random.default_rng(0)
    old = generator.random((40, 4, 6))
    new = old.copy()
    for index, shift in ((35, 4.0), (7, 3.0), (20, 2.0), (1, 0.5)):
        new[index] += shift
    figure = feature_map_figure(old, new, title="conv1", old_title="A", new_title="B")
    words = words_of(figure)
    assert [word for word in words if word.startswith("map ")] == ["map 35", "map 7", "map 20"] * 2
    assert {"A", "B"} <= set(words)
    assert any("conv1" in word and "the first 32 of 40 maps" in word for word in words)
    close = {
        (axes.get_title(), side): axes.images[0].get_array()
        for side, half in enumerate((figure.axes[:4], figure.axes[4:]))
        for axes in half
    }
    low, high = min(old[7].min(), new[7].min()), max(old[7].max(), new[7].max())
    np.testing.assert_allclose(close["map 7", 0], (old[7] - low) / (high - low))
    np.testing.assert_allclose(close["map 7", 1], (new[7] - low) / (high - low))
    alone = words_of(feature_map_figure(old[:5], title="conv1"))
    assert any("5 maps" in word for word in alone)
    with pytest.raises(InputError, match="conv1: got maps of shapes"):
        feature_map_figure(old, new[:3], title="conv1")
    feature_map_figure(np.zeros((2, 3, 3)), title="dead").canvas.draw()


def test_picture():
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    assert np.array_equal(picture(image), image.transpose(1, 2, 0))
    assert np.array_equal(picture(image / 255), image.transpose(1, 2, 0))
    assert np.array_equal(picture(image[:1]), np.stack([image[0]] * 3, axis=2))


def test_numbers_of_pictures_by_hand():
    assert picture(np.full((1, 1, 1), 0.2)).tolist() == [[[51, 51, 51]]]
    gray = np.full((3, 1, 2), 128, np.uint8)
    assert overlay(gray, np.array([[0.0, 4.0]])).tolist() == [[[96, 105, 115], [222, 206, 74]]]
    assert legend_colors(signed=False, count=2) == ["#606873", "#dece4a"]
