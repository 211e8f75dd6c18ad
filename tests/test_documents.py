"""What the documents say is so."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.methods import METHODS, Component

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def generator():
    """The module tools/make_methods_page.py."""
    spec = importlib.util.spec_from_file_location(
        "make_methods_page", ROOT / "tools" / "make_methods_page.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_page_of_methods_is_what_the_catalogs_and_docstrings_give(generator):
    found = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert found == generator.page(), "run: python tools/make_methods_page.py"


@pytest.mark.parametrize("record", METHODS, ids=lambda r: r.name)
def test_the_page_has_a_section_for_every_method_with_source_and_advice(record):
    page = (ROOT / "docs" / "methods.md").read_text()
    section = page.split(f"\n## `{record.name}`: {record.title}\n")[1].split("\n## ")[0]
    assert f"Source: {record.paper}." in section
    assert re.search(r"^Helps: \w", section, flags=re.MULTILINE)
    assert re.search(r"^Hurts: \w", section, flags=re.MULTILINE)
    for slot, component in record.components.items():
        assert f"\n| {slot} | [`{component.name}`](#{component.name}) | " in section
        assert all(f"`{option}=" in section for option in component.options)


def test_the_page_of_methods_describes_no_method_that_does_not_exist():
    page = (ROOT / "docs" / "methods.md").read_text()
    assert re.findall(r"^## `([^`]+)`", page, flags=re.MULTILINE) == list(METHODS.names)


@pytest.mark.parametrize(
    ("folder", "name"), [(f, entry.name) for f, c in SLOT_CATALOGS.items() for entry in c]
)
def test_every_component_states_when_it_helps_and_hurts_and_explains_its_options(generator, folder, name):
    component = Component(folder, name)
    notes = generator.Notes(component.load())
    assert len(notes.helps) > 10
    assert len(notes.hurts) > 10
    explained = {option for option, (_, meaning) in generator.parameters(component.load()) if meaning}
    assert set(component.defaults()) <= explained


def test_markup_of_docstrings_becomes_markdown(generator):
    text = "See :class:`~counterpoise.balance.samplers.ROS`\nand ``a_b``::"
    assert generator.markdown(text) == "See `ROS` and `a_b`:"
    assert generator.markdown("- one\n  line\n- two") == "- one line\n- two"
    assert generator.markdown("    x + 1\n    y") == "```\nx + 1\ny\n```"


def test_a_reference_to_another_class_is_replaced_by_its_text(generator):
    meanings = dict(generator.parameters(SLOT_CATALOGS["samplers"]["rus"].load()))
    assert meanings["desired_ratio"][1].startswith("rho_d >= 1")
    assert meanings["sampling_strategy"][1].endswith('`"auto"` is `"not minority"`.')


def test_the_python_example_of_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) > 0.8


def test_links_and_pictures_of_the_documents_exist():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


MARKS = re.compile(r"<!-- (begin|end) ([\w-]+) -->")


def test_the_generated_blocks_of_the_studies_are_whole_and_filled():
    page = (ROOT / "docs" / "studies.md").read_text()
    marks = MARKS.findall(page)
    assert len(marks) >= 2
    names = [name for _, name in marks[::2]]
    assert marks == [(kind, name) for name in names for kind in ("begin", "end")]
    assert len(set(names)) == len(names)
    listed = re.findall(r"--enhance-numbers((?: out/\S+)+)", page)
    # That of rare classes is of an earlier protocol, whose folder is no longer made.
    numbers_only = {
        "enhance-imbalanced",
        *(n.removeprefix("out/") for names in listed for n in names.split()),
    }
    for name, block in zip(names, MARKS.split(page)[3::6], strict=True):
        pictures = re.findall(r"^!\[.+\]\(studies/(.+\.png)\)$", block, flags=re.MULTILINE)
        assert bool(pictures) == (name not in numbers_only), name
        assert "| --- |" in block or pictures, f"{name} shows neither picture nor numbers"
        assert all(picture.startswith(name) for picture in pictures), name


def test_every_picture_is_small_and_every_picture_of_a_study_is_shown():
    pictures = list((ROOT / "docs").rglob("*.png"))
    assert {p.name: p.stat().st_size for p in pictures if p.stat().st_size >= 200_000} == {}
    folder = ROOT / "docs" / "studies"
    shown = re.findall(r"\(studies/(.+\.png)\)", folder.with_suffix(".md").read_text())
    pages = list(folder.glob("*.md"))
    shown += [name for page in pages for name in re.findall(r"\(([^/)]+\.png)\)", page.read_text())]
    assert set(shown) == {path.name for path in folder.iterdir()} - {page.name for page in pages}
    linked = re.findall(r"\(studies/(.+\.md)\)", folder.with_suffix(".md").read_text())
    assert set(linked) == {page.name for page in pages}
