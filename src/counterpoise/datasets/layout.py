"""Names of files and folders become classes and splits, as their owner meant them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Parts = tuple[str, ...]

_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
_FILLERS = frozenset({"set", "data", "dataset", "images", "image", "img", "imgs", "seg", "split"})
_JOINED = re.compile(rf"({'|'.join(_WORDS)})(?:set|data|images)")


def split_of(name: str) -> str | None:
    """Return the split that a folder or a cell of a table names: "train", "validation", "test" or None.

    Examples
    --------
    >>> [split_of(name) for name in ("Train", "val_set", "seg_test", "trainset", "trainer", "cat")]
    ['train', 'validation', 'test', 'train', None, None]
    """
    words = [word for word in re.split(r"[\W_]+", name.strip().lower()) if word and word not in _FILLERS]
    if len(words) != 1:
        return None
    joined = _JOINED.fullmatch(words[0])
    return _WORDS.get(joined[1] if joined else words[0])


def class_name(text: str) -> str:
    """Return a class name in composed Unicode: some systems write an accent as a character of its own."""
    return unicodedata.normalize("NFC", text)


def plain_name(text: str) -> str:
    """Return a name without what hardly shows: case, spaces, invisible characters, and the zeros of ``1.0``."""
    shown = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Cc"))
    plain = "".join("".join(shown).split()).casefold()
    return plain.partition(".")[0] if re.fullmatch(r"[+-]?\d+\.0+", plain) else plain


def near_notes(classes: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for each set of class names that hardly differ, with invisible characters as escapes."""
    alike = defaultdict(list)
    for name in classes:
        alike[plain_name(name)].append(repr(name))
    differ = (
        "differ only in case, spaces, a decimal zero or invisible characters: correct them, or `merge` them."
    )
    return tuple(f"The classes {' and '.join(own)} {differ}" for own in alike.values() if len(own) > 1)


def tiny_classes(classes: Sequence[str], counts: Iterable[int]) -> str | None:
    """Return a sentence on the classes of one or two training images, if there are any."""
    tiny = ", ".join(f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count <= 2)
    advice = "`exclude` leaves classes out, `merge` makes several one."
    return f"Too few training images to learn from and to test: {tiny}; {advice}" if tiny else None


@dataclass(frozen=True)
class Layout:
    """Arrangement of image files.

    `entries` are (parts of the name, class, split), `astray` the images in no class folder, `beside` the number of
    images in each folder beside the splits. Class folders lie below `top`, at `depth` 0, or 1 with splits.
    """

    entries: Sequence[tuple[Parts, str, str]]
    astray: Sequence[Parts] = ()
    beside: Mapping[str, int] = field(default_factory=dict)
    top: Parts = ()
    has_splits: bool = False

    def classes_without_images(self, folders: Iterable[Parts]) -> list[Parts]:
        """Return the class folders among all `folders` in which there are no images."""
        depth = len(self.top) + self.has_splits
        classes = {label for _, label, _ in self.entries}
        return [
            parts
            for parts in sorted(folders)
            if parts[: len(self.top)] == self.top
            and len(parts) == depth + 1
            and class_name(parts[-1]) not in classes
            and (not self.has_splits or split_of(parts[-2]) == "train" != split_of(parts[-1]))
        ]

    def repeated_folders(self) -> list[str]:
        """Return the names of folders that are in every class: then these may be the classes."""
        inside: dict[str, set[str]] = {}
        for parts, label, _ in self.entries:
            own = next(i for i, part in enumerate(parts) if class_name(part) == label and i >= len(self.top))
            inside.setdefault(label, set()).update(parts[own + 1 : own + 2] if len(parts) > own + 2 else ())
        common = set.intersection(*inside.values()) if len(inside) > 1 else set()
        return sorted(common) if len(common) > 1 else []


def arrange(images: Sequence[Parts]) -> Layout:
    """Read classes and splits from the names of images, each divided into its parts.

    Folders that all images share are skipped, and a few images beside class folders do not hide them.

    Examples
    --------
    >>> found = arrange([("set", "trn", "cat", "1.png"), ("set", "tst", "cat", "2.png"), ("cover.png",)])
    >>> [(label, split) for _, label, split in found.entries], found.astray
    ([('cat', 'train'), ('cat', 'test')], [('cover.png',)])
    """
    top = _common_top(images)
    inside = [parts for parts in images if parts[: len(top)] == top]
    astray = [parts for parts in images if parts[: len(top)] != top]
    has_splits = _has_splits([parts[len(top) :] for parts in inside])
    entries, beside = [], Counter[str]()
    for parts in inside:
        rest = parts[len(top) :]
        split = split_of(rest[0]) if has_splits else "train"
        if split is None or (has_splits and len(rest) == 1):
            beside[rest[0]] += len(rest) > 1
            astray += [parts] if len(rest) == 1 else []
            continue
        # As in seg_train/seg_train/forest/1.jpg.
        while has_splits and len(rest) > 3 and split_of(rest[1]) == split:
            rest = rest[1:]
        rest = rest[1:] if has_splits else rest
        if len(rest) < 2:
            astray.append(parts)
        else:
            entries.append((parts, class_name(rest[0]), split))
    return Layout(entries, astray, dict(+beside), top, has_splits)


def _common_top(images: Sequence[Parts]) -> Parts:
    """Return the folders above the classes or splits that the images share, files beside them aside."""
    top: Parts = ()
    while True:
        rest = [parts[len(top) :] for parts in images if parts[: len(top)] == top]
        deep = [parts for parts in rest if len(parts) > 1]
        # A single class folder holds images directly; a single train/ is a split.
        nested = sum(len(parts) > 2 for parts in deep)
        if len({parts[0] for parts in deep}) != 1 or 2 * nested <= len(deep) or _has_splits(rest):
            return top
        top += (deep[0][0],)


def _has_splits(images: Iterable[Parts]) -> bool:
    """Return whether there is a train folder of class folders; one of images is a class of trains."""
    depths = [len(parts) for parts in images if len(parts) > 1 and split_of(parts[0]) == "train"]
    return sum(depth >= 3 for depth in depths) > sum(depth == 2 for depth in depths)
