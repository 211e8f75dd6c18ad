"""Refuse words that the project's glossary replaces: ``python tools/check_language.py [PATH ...]``.

In Python files, comments and strings are checked; in documents and templates, every line. Prints one line for each
finding and exits with 1 if there are any.
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKED = ("src", "benchmarks", "docs", "tools", "README.md")
ENDINGS = (".py", ".md", ".j2", ".js")

# What to write -> what not to write.
GLOSSARY = {
    "resume, interrupted run": r"go(es|ing)? on (with|from|where|again)|gone on|going on|what is missing of",
    "checkpoint, weights, pretrained": r"what it starts from|what a network starts from",
    "reinitialize, re-run, retrain, again": r"anew|again and again",
    "from scratch": r"from nothing",
    "callback, event, progress": r"hears?|heard of|tellers?|listens? to|the news",
    "component": r"pieces? of a method|a method's pieces?|\bpieces?\b",
    "repeat": r"(each|every|per|one|this|a|the same|\d|two|three|five|of|over|draw by) draws?"
    r"(?! (a|an|the|its|from|of) )\b",
    "variant": r"arms?",
    "resampled set": r"grown sets?",
    "unexpected files": r"strangers?",
    "the other classes, common": r"recall rest|frequent classes",
    "synthetic sample": r"new points?|made points?",
    "dataset": r"data sets?",
    "gray, grayscale": r"grey\w*",
    "color": r"\w*colour\w*",
    "baseline": r"plain training",
    "never used for selection": r"ha(s|ve) no say|no say",
    "center-cropped": r"juts? out",
    "American spelling": r"\w*(neighbour|behaviour|favour|centre\b|licence|analyse)\w*"
    r"|\w*(normal|initial|optim|minim|maxim|regular|recogn|summar|general|visual|real|organ|serial|penal|standard)is(e|ed|es|er|ers|ing|ation)\b",
}
PATTERNS = [
    (better, re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)) for better, pattern in GLOSSARY.items()
]
# Written by other projects, or stored in results under this name.
EXCEPTIONS = re.compile(r"normalised-head|NormalisedHead|synchronis|plain-training|``arm``")


def findings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line number, the words found and what to write instead."""
    for number, text in _prose(path):
        for better, pattern in PATTERNS:
            for match in pattern.finditer(EXCEPTIONS.sub("", text)):
                yield number, match[0], better


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix != ".py":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        return
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            # A single word is a key or a name, not prose.
            if token.type in kinds and not re.fullmatch(r"""[rbf]*["'][\w.-]*["']""", token.string):
                yield from enumerate(token.string.splitlines(), start=token.start[0])


def main(arguments: list[str]) -> int:
    """Check the files below `arguments` (the whole project by default) and return the exit code."""
    roots = [Path(argument) for argument in arguments] or [ROOT / name for name in CHECKED]
    files = [p for root in roots for p in ([root] if root.is_file() else sorted(root.rglob("*")))]
    found = 0
    for path in files:
        if path.suffix in ENDINGS and path.resolve() != Path(__file__).resolve():
            for number, words, better in findings(path):
                print(f"{path}:{number}: {words!r}; write: {better}")
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
