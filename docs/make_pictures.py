"""Make the pictures and tables of the documents.

    python docs/make_pictures.py --report
    python docs/make_pictures.py --transfer DIR --enhance DIR DIR --explain DIR

`--report`: a screenshot of the report of `counterpoise demo`, docs/report.png.
`--enhance`, `--explain`: from finished folders of these commands, pictures in docs/studies/ and the blocks of
docs/studies.md between `<!-- begin NAME -->` and `<!-- end NAME -->`, with NAME the folder's name. `--transfer`: the
same from the results of `counterpoise reproduce lecture-transfer`, a block for each line, TABLE-LINE. The blocks are
generated from the folders' summaries; the text around them is written by hand. `--enhance-numbers`: as `--enhance`,
without pictures.

Screenshots of pages need Chromium and the test extra.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).parent
PAGE, PICTURES = "studies.md", "studies"
WIDTH, HEIGHT = 1100, 1500
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
MOST_BYTES = 200_000
WIDEST = 1400  # pixels

KINDS = {
    "pixels": "Input, output and their difference",
    "grad-cam:different": "Grad-CAM, different",
    "grad-cam:same": "Grad-CAM, same",
    "conv1": "First convolution, old and new",
    "conv2": "Second convolution, old and new",
}
"""The figures of an enhancement, in the order of the document."""

Block = tuple[str, str]  # name, and content in Markdown


def main() -> None:
    arguments = _arguments()
    if arguments.report:
        make_report(HERE / "report.png")
    blocks = [
        *(block for folder in arguments.transfer for block in transfer_blocks(folder, HERE)),
        *(enhance_block(folder, HERE) for folder in arguments.enhance),
        *(enhance_block(folder, HERE, pictures=False) for folder in arguments.enhance_numbers),
        *(explain_block(folder, HERE) for folder in arguments.explain),
    ]
    for name, content in blocks:
        put(HERE / PAGE, name, content)
        print(f"{PAGE}: {name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--report", action="store_true", help="run the demo and take a screenshot of its report"
    )
    for name in ("transfer", "enhance", "enhance-numbers", "explain"):
        parser.add_argument(f"--{name}", nargs="+", type=Path, default=[], metavar="DIR")
    arguments = parser.parse_args()
    if not any(vars(arguments).values()):
        parser.error(
            "nothing to make: give --report, --transfer, --enhance, --enhance-numbers or --explain DIR"
        )
    return arguments


def make_report(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = "from counterpoise.cli.main import main; main()"
        subprocess.run([sys.executable, "-c", command, "demo", "--out", str(out / "demo")], check=True)
        take_screenshot(out / "demo" / "report.html", out / "report.png")
        shrink(out / "report.png", target)


def transfer_blocks(folder: Path, docs: Path) -> list[Block]:
    """Return the name and the content of the block of each line; pictures are written below `docs`."""
    from counterpoise.studies.transfer.page import base_sentences, finding_rows, table_rows
    from counterpoise.studies.transfer.plan import TREATMENTS

    table, blocks = _summary(folder), []
    for line, summary in table["studies"].items():
        name = f"{table['table']}-{line}"
        shrink(folder / f"{line}.png", docs / PICTURES / f"{name}.png")
        parts = [
            f"```bash\ncounterpoise reproduce {table['table']} --only {line}\n```",
            f"{summary['done']} of {summary['planned']} repeats done.",
            _picture(name, f"Accuracy on B over the number of copied layers, {summary['split']} split"),
            _table(["the lecture", "here", "measured"], finding_rows(summary)),
            _facts(summary, f"accuracy on the test images of B{_repeats(summary['draws'])}"),
            _table(["n", *TREATMENTS], table_rows(summary)),
            f"The same minus baseB of the same repeat{_repeats(summary['draws'])}:",
            _table(["n", *TREATMENTS], table_rows(summary, difference=True)),
            " ".join(base_sentences(summary)),
        ]
        blocks.append((name, "\n\n".join(parts)))
    return blocks


def enhance_block(folder: Path, docs: Path, *, pictures: bool = True) -> Block:
    """Return the name and the content of an enhancement's block; its pictures, if any, are written below `docs`."""
    from counterpoise.studies.enhance.page import (
        NOISE_COLUMNS,
        caption,
        findings,
        gain_rows,
        noise_rows,
        protocol,
        score_cells,
        shown_columns,
        titles_of,
    )

    summary = _summary(folder)
    name = folder.resolve().name
    columns = ["", *(column for column, _, _ in shown_columns(summary))]
    titles = titles_of(summary)
    variants = [
        [f"{entry['title']}: {entry['what']}", *score_cells(summary, entry["scores"])]
        for entry in summary["methods"]
    ]
    full = [[titles[variant], *score_cells(summary, scores)] for variant, scores in summary["full"].items()]
    slides = [
        [f"slides, VGG-16, {entry['evaluated_on']}", f"{entry['classifier']:.3f}", f"{entry['combined']:.3f}"]
        for entry in summary["slides"]
    ]
    parts = [
        _command(summary),
        protocol(summary),
        "\n".join(f"- {finding}" for finding in findings(summary)),
        _facts(summary, f"test set{_repeats(summary['draws'])}"),
        _table(columns, variants),
        f"What the enhanced images gain{_repeats(summary['draws'])}, over:",
        _table(columns, gain_rows(summary)),
        "On training and test images together, which the slides call full (not a measure of new images):",
        _table(columns, full),
        f"Accuracy on at most 1,000 test images with Gaussian noise{_repeats(summary['draws'])}; pixels are in [0, 1]:",
        _table(NOISE_COLUMNS, noise_rows(summary)),
        *([_table(["accuracy on", "classifier", "combined"], slides)] if slides else []),
    ]
    for key, shown in figures_shown(summary["images"]) if pictures else ():
        kind = key.partition(":")[0]
        target = f"{name}-{key.replace(':', '-')}"
        shrink(folder / "figures" / shown["figures"][kind], docs / PICTURES / f"{target}.png")
        parts.append(_picture(target, KINDS[key], f": {caption(shown['image'])}"))
    return name, "\n\n".join(parts)


def figures_shown(images: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the figures and images of a document: the slides' four comparisons, Grad-CAM in both kinds.

    Each shows the first image; images with empty Grad-CAM maps come last.
    """
    ordered = sorted(images, key=lambda image: image["blank"])
    members = {
        "grad-cam:different": [image for image in ordered if not image["same"]],
        "grad-cam:same": [image for image in ordered if image["same"]],
    }
    firsts = ((key, members.get(key, ordered)[:1]) for key in KINDS)
    return [
        (key, image) for key, first in firsts for image in first if key.partition(":")[0] in image["figures"]
    ]


def explain_block(folder: Path, docs: Path) -> Block:
    """Return the name and the content of an explanation's block; its pictures are written below `docs`."""
    found = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
    attention = found["attention"]
    if attention is None or not found["images"][0]["feature_maps"]:
        sys.exit(f"{folder} compares no two models: make it with --compare-with and --feature-maps")
    name = folder.resolve().name
    with tempfile.TemporaryDirectory() as temporary:
        take_screenshot(folder / "explain.html", Path(temporary) / "page.png")
        shrink(Path(temporary) / "page.png", docs / PICTURES / f"{name}-page.png")
    images = sorted(
        (image for image in found["images"] if not any(view["blank"] for view in image["views"])),
        key=lambda image: image["similarity"],
    )
    shown = [
        ("different", images[0]["figure"], "The most different maps", f": {_likeness(images[0])}"),
        ("same", images[-1]["figure"], "The maps most alike", f": {_likeness(images[-1])}"),
        *(
            (
                f"conv{number}",
                maps,
                f"Convolution {number} of both models",
                ", for the first of these images",
            )
            for number, maps in enumerate(images[0]["feature_maps"], start=1)
        ),
    ]
    parts = [
        f"{len(found['images'])} images by {found['method']}. Measure: {attention['measure']}, same from "
        f"{attention['same_from']:g}. Same attention: {attention['same']}, different: {attention['different']}.",
        _picture(f"{name}-page", "The top of the page that the command writes"),
    ]
    for kind, source, words, more in shown:
        shrink(folder / source, docs / PICTURES / f"{name}-{kind}.png")
        parts.append(_picture(f"{name}-{kind}", words, more))
    return name, "\n\n".join(parts)


def _likeness(image: dict[str, Any]) -> str:
    answers = " and ".join(
        f"{letter} says {v['predicted']}" for letter, v in zip("AB", image["views"], strict=True)
    )
    return f"truly {image['true']}, {answers}; rank correlation {image['similarity']:.2f}"


def put(page: Path, name: str, content: str) -> None:
    """Replace the content of the page's block of that name."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- begin {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.S)
    if not pattern.search(text):
        sys.exit(
            f"{page} has no block for {name}: add the lines <!-- begin {name} --> and <!-- end {name} -->"
        )
    page.write_text(pattern.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text), encoding="utf-8")


def shrink(source: Path, target: Path) -> None:
    """Write a picture below the size limit: with all its colors if possible, else with fewer, else smaller."""
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((WIDEST, 10 * WIDEST))
    for colors, share in ((None, 1), (256, 1), (256, 0.8), (128, 0.65), (64, 0.5)):
        smaller = picture.resize((round(picture.width * share), round(picture.height * share)))
        if colors is not None:
            # Median cut, the default, drops the colors of small areas, such as those of a legend.
            smaller = smaller.quantize(colors, method=Image.Quantize.MAXCOVERAGE)
        smaller.save(target, format="PNG", optimize=True)
        if target.stat().st_size < MOST_BYTES:
            return
    sys.exit(f"{source} cannot be made smaller than {MOST_BYTES:,} bytes")


def take_screenshot(page_path: Path, target: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(page_path.resolve().as_uri())
        page.wait_for_timeout(1500)
        page.screenshot(path=target)
        browser.close()


def _summary(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    if summary["failed"]:
        sys.exit(f"{folder} is not finished: {summary['failed'][0]['error']}")
    return summary


def _command(summary: dict[str, Any]) -> str:
    """Return the command that made a study, with paths shortened to names."""
    words = [Path(word).name if word.startswith("/") else word for word in summary["command"].split()]
    for flag, folder in (("--out", "out"), ("--export-to", "results")):
        if flag in words:
            place = words.index(flag) + 1
            words[place] = f"{folder}/{Path(words[place]).name}"
    return f"```bash\n{' '.join(words)}\n```"


def _picture(name: str, words: str, more: str = "") -> str:
    """Return a picture with alternative text, and its caption below."""
    return f"![{words}]({PICTURES}/{name}.png)\n\n*{words}{more}*"


def _facts(summary: dict[str, Any], what: str) -> str:
    return f"{summary['dataset']}, {summary['network']}; {what}:"


def _repeats(count: int) -> str:
    return ", one repeat" if count == 1 else f", mean ± half the 95 % interval of {count} repeats"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    main()
