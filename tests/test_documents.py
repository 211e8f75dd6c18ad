"""What the documents say is so."""

import re
from pathlib import Path

import pytest

from counterpoise.methods import all_methods

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("record", all_methods().values(), ids=lambda r: r.name)
def test_the_page_of_methods_has_a_section_for_every_record(record):
    page = (ROOT / "docs" / "methods.md").read_text()
    assert f"\n## `{record.name}`: {record.title}\n" in page
    assert record.paper in page


@pytest.mark.parametrize("name", all_methods())
def test_each_section_says_when_the_method_helps_and_when_it_hurts(name):
    page = (ROOT / "docs" / "methods.md").read_text()
    section = page.split(f"\n## `{name}`: ")[1].split("\n## ")[0]
    assert "Helps: " in section
    assert "Hurts: " in section


def test_the_page_of_methods_describes_no_method_that_is_not_there():
    page = (ROOT / "docs" / "methods.md").read_text()
    assert set(re.findall(r"^## `([^`]+)`", page, flags=re.MULTILINE)) == set(all_methods())


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
    numbers_only = re.findall(r"--enhance-numbers out/(\S+)", page)
    for name, block in zip(names, MARKS.split(page)[3::6], strict=True):
        pictures = re.findall(r"^!\[.+\]\(studies/(.+\.png)\)$", block, flags=re.MULTILINE)
        assert bool(pictures) == (name not in numbers_only), name
        assert "| --- |" in block or pictures, f"{name} shows neither picture nor numbers"
        assert all(picture.startswith(name) for picture in pictures), name


def test_every_picture_is_small_and_every_picture_of_a_study_is_shown():
    pictures = list((ROOT / "docs").rglob("*.png"))
    assert {p.name: p.stat().st_size for p in pictures if p.stat().st_size >= 200_000} == {}
    page = (ROOT / "docs" / "studies.md").read_text()
    shown = set(re.findall(r"\(studies/(.+\.png)\)", page))
    assert shown == {path.name for path in (ROOT / "docs" / "studies").iterdir()}
