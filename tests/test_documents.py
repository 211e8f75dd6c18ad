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
