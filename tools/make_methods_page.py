"""Write docs/methods.md from the catalogs of methods and components: ``python tools/make_methods_page.py``.

The text of a component comes from its class's docstring (numpydoc: Parameters, and Notes with the paragraphs "Helps:"
and "Hurts:"). Text that belongs to no component is in the template beside this file.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from counterpoise.balance.catalog import SLOT_CATALOGS
from counterpoise.balance.losses import class_weights, effective_number_weights
from counterpoise.catalogs import Entry
from counterpoise.methods import CROSS_ENTROPY, METHODS, Component, Method

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "methods.md"

# The first of these slots that a method fills distinguishes it from the others.
DISTINGUISHING = ("features", "objective", "step", "head", "perturb", "loss", "adjust", "sampler")


def page() -> str:
    """Return the page as Markdown."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown: dict[tuple[str, str], Method] = {}
    for method in METHODS:
        component = distinguishing(method)
        shown.setdefault((component.folder, component.name), method)
    methods = [method_section(method, shown) for method in METHODS]
    slots = [slot_section(folder, shown) for folder in SLOT_CATALOGS]
    return environment.get_template("methods_page.md.j2").render(methods=methods, slots=slots)


def distinguishing(method: Method) -> Component:
    """Return the component by which the method differs from the others."""
    for slot in DISTINGUISHING:
        component = getattr(method, slot)
        if component is not None and component.name != CROSS_ENTROPY.name:
            return component
    return method.loss


def method_section(method: Method, shown: dict[tuple[str, str], Method]) -> dict[str, Any]:
    """Return what the template shows of a method."""
    component = distinguishing(method)
    notes = Notes(component.load())
    first = shown[component.folder, component.name]
    rows = [
        (
            slot,
            f"[`{part.name}`](#{part.name})",
            ", ".join(f"`{k}={typed(v)}`" for k, v in part.options.items()),
        )
        for slot, part in method.components.items()
    ]
    rows += [("head_layer", f"`{method.head_layer}`", "")] if method.head_layer != "linear" else []
    rows += [("schedule", f"`{method.schedule}`", "")] if method.schedule != "constant" else []
    return {
        "record": method,
        "rows": rows,
        "notes": notes.text if first is method else f"For `{component.name}` see {link(first)}.",
        "helps": method.helps or notes.helps,
        "hurts": method.hurts or notes.hurts,
    }


def slot_section(folder: str, shown: dict[tuple[str, str], Method]) -> dict[str, Any]:
    """Return what the template shows of a slot and its components."""
    package = import_module(f"counterpoise.balance.{folder}")
    title = (inspect.getdoc(package) or "").splitlines()[0].rstrip(".")
    entries = [component_section(folder, entry, shown) for entry in SLOT_CATALOGS[folder]]
    return {"folder": folder, "title": title, "entries": entries}


def component_section(folder: str, entry: Entry, shown: dict[tuple[str, str], Method]) -> dict[str, Any]:
    """Return what the template shows of a component."""
    cls = entry.load()
    meanings = dict(parameters(cls))
    options = [
        (option, typed(default), *(cell(text) for text in meanings.get(option, ("", ""))))
        for option, default in Component(folder, entry.name).defaults().items()
    ]
    method = shown.get((folder, entry.name))
    return {
        "entry": entry,
        "options": options,
        "method": link(method) if method else "",
        "notes": Notes(cls),
    }


class Notes:
    """Notes section of a component's docstring, as Markdown: `text`, `helps` and `hurts`."""

    def __init__(self, cls: type) -> None:
        self.text, self.helps, self.hurts = "", "", ""
        kept = []
        for paragraph in section(cls, "Notes").split("\n\n"):
            text = markdown(paragraph)
            if text.startswith("Helps: "):
                self.helps = text.removeprefix("Helps: ")
            elif text.startswith("Hurts: "):
                self.hurts = text.removeprefix("Hurts: ")
            else:
                kept.append(text)
        self.text = "\n\n".join(filter(None, kept))


def section(cls: Any, title: str) -> str:
    """Return the text of a numpydoc section, empty if there is none."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(cls.__doc__ or ""), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(title, "").strip()


def parameters(cls: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield name, type and meaning of each documented parameter; "See NAME" is replaced by the text it refers to."""
    for base in reversed(getattr(cls, "__mro__", ())[1:]):
        if base.__module__.startswith("counterpoise."):
            yield from parameters(base)
    for match in re.finditer(r"^(\w.*)\n((?: {4}.*\n?|\n)*)", section(cls, "Parameters"), flags=re.MULTILINE):
        names, _, kind = match[1].partition(" : ")
        kind = re.sub(r", (default=.*|optional)$", "", kind)
        text = markdown(textwrap.dedent(match[2]).strip())
        for name in names.split(", "):
            yield name, _resolved(cls, name, kind, text)


def _resolved(cls: Any, name: str, kind: str, text: str) -> tuple[str, str]:
    see = re.match(r"See `(\w+)`[;.] ?", text)
    known: dict[str, Any] = {base.__name__: base for base in getattr(cls, "__mro__", ())}
    known |= {function.__name__: function for function in (class_weights, effective_number_weights)}
    known |= {entry.attribute: entry.load() for catalog in SLOT_CATALOGS.values() for entry in catalog}
    if see is None or see[1] not in known:
        return kind, text
    meanings = dict(parameters(known[see[1]]))
    if name not in meanings:
        return kind, text
    kind, meaning = meanings[name]
    rest = text[see.end() :]
    return kind, f"{meaning} {rest[:1].upper()}{rest[1:]}".strip()


def markdown(text: str) -> str:
    """Return a paragraph of a docstring as Markdown: roles become code, and a paragraph is one line."""
    text = re.sub(r":(?:class|func|meth):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    text = re.sub(r"::$", ":", text)
    if text.startswith("    "):
        return f"```\n{textwrap.dedent(text)}\n```"
    return re.sub(r"\s*\n\s*(?!- )", " ", text).replace("\n ", "\n")


def cell(text: str) -> str:
    """Return the text for a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def typed(value: Any) -> str:
    """Return an option's value as users type it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def link(method: Method) -> str:
    """Return a link to a method's section."""
    anchor = re.sub(r"[^\w -]", "", f"{method.name} {method.title}".lower()).replace(" ", "-")
    return f"[`{method.name}`](#{anchor})"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
