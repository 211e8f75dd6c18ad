"""Unlabeled images for prediction: any mix of files, folders and zips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from counterpoise.datasets.decoding import EXTENSIONS, UnreadableImageError, read_header
from counterpoise.datasets.image_files import ImageFile, ImageFiles
from counterpoise.datasets.images import SkippedFile
from counterpoise.datasets.listing import is_image_name, natural_key, readable_name, walk_folder
from counterpoise.datasets.parallel import OnProgress, map_indices
from counterpoise.datasets.scanning import refuse_skipped
from counterpoise.datasets.stores import FolderStore, ZipStore
from counterpoise.exceptions import DataError


def read_images(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: int,
    image_size: tuple[int, int],
    strict: bool = False,
    progress: OnProgress | None = None,
) -> tuple[ImageFiles, tuple[str, ...], tuple[SkippedFile, ...]]:
    """Find the images among `inputs`.

    Parameters
    ----------
    inputs : path or iterable of paths
        Image files; folders, searched recursively; zips, read in place.
    channels, image_size : int, (int, int)
        See `decode_image`.
    strict : bool
        Whether an unreadable file is an error rather than skipped.
    progress : callable, optional
        Called with (done, total).

    Returns
    -------
    images : ImageFiles
        Readable images, in the order of the inputs and in natural order inside each.
    paths : tuple of str
        Name of each: the path as given, followed by the name inside the folder or zip.
    skipped : tuple of SkippedFile

    Raises
    ------
    DataError
        If an input does not exist or has another type, if no image can be read, or, under `strict`, if any cannot.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.pgm").write_bytes(b"P2 2 1 255  0 255")
    >>> images, paths, skipped = read_images(folder, channels=1, image_size=(1, 2))
    >>> images[0].tolist(), Path(paths[0]).name, skipped
    ([[[0, 255]]], 'a.pgm', ())
    """
    sources = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found: list[tuple[str, ImageFile]] = []
    skipped: list[SkippedFile] = []
    for path, file in (item for source in sources for item in _find(Path(source).expanduser())):
        if readable_name(path) == path:
            found.append((path, file))
        else:
            skipped.append(SkippedFile(readable_name(path), "its name is not valid UTF-8"))
    if not found:
        raise DataError(f"no images in {', '.join(map(str, sources)) or 'an empty list'}; name some")

    def inspect(index: int) -> str | None:
        store, name = found[index][1]
        try:
            with store.open(name) as file:
                read_header(file)
        except UnreadableImageError as error:
            return str(error)
        return None

    reasons = map_indices(inspect, len(found), threads=False, progress=progress)
    checked = list(zip(found, reasons, strict=True))
    good = [item for item, reason in checked if reason is None]
    skipped += [SkippedFile(path, reason) for (path, _), reason in checked if reason is not None]
    if strict or not good:
        refuse_skipped("strict" if good else "none of the images is readable", skipped)
    images = ImageFiles(tuple(file for _, file in good), channels, image_size)
    return images, tuple(path for path, _ in good), tuple(skipped)


def _find(path: Path) -> Iterator[tuple[str, ImageFile]]:
    if path.is_dir():
        folder = FolderStore(path)
        for name in sorted(filter(is_image_name, walk_folder(path)[0]), key=natural_key):
            yield str(path / name), ImageFile(folder, name)
    elif not path.exists():
        raise DataError(f"no such file or folder: {str(path)!r}")
    elif path.suffix.lower() == ".zip":
        archive = ZipStore(path)
        for name in sorted(filter(is_image_name, archive.names()), key=natural_key):
            yield f"{path}/{name}", ImageFile(archive, name)
    elif path.suffix.lower() in EXTENSIONS:
        yield str(path), ImageFile(FolderStore(path.parent), path.name)
    else:
        raise DataError(f"{path} is no image, folder or zip; images end in {', '.join(sorted(EXTENSIONS))}")
