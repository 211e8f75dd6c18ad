"""Unlabelled images for a trained model: files, folders and zips, mixed as the user names them."""

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
    """Find the images among `inputs`; they are decoded when asked for.

    Parameters
    ----------
    inputs : path or iterable of paths
        Image files; folders, searched with all that lies below them; zips, read in place.
    channels : {1, 3}
        Grey or RGB.
    image_size : (int, int)
        (height, width) in pixels that every image is brought to, see `decode_image`.
    strict : bool
        Whether an unreadable file is an error rather than left out and reported.
    progress : callable, optional
        Called with (done, total) while files are opened.

    Returns
    -------
    images : ImageFiles
        The readable images, in the order of the inputs and in natural order inside each.
    paths : tuple of str
        A name for each: the path as given, followed by the name inside the folder or zip.
    skipped : tuple of SkippedFile
        What could not be read, and why.

    Raises
    ------
    DataError
        If an input does not exist or is no image, folder or zip, if no image can be read, or, under `strict`,
        if any cannot.

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
    found = [item for source in sources for item in _find(Path(source).expanduser())]
    unnameable = [SkippedFile(readable_name(path), "its name is not valid UTF-8") for path, _ in found]
    unnameable = [item for item, (path, _) in zip(unnameable, found, strict=True) if item.path != path]
    found = [item for item in found if readable_name(item[0]) == item[0]]
    if not found:
        raise DataError(f"no images in {', '.join(map(str, sources)) or 'an empty list'}; name some")

    def look(index: int) -> str | None:
        store, name = found[index][1]
        try:
            with store.open(name) as file:
                read_header(file)
        except UnreadableImageError as error:
            return str(error)
        return None

    reasons = map_indices(look, len(found), threads=False, progress=progress)
    pairs = list(zip(found, reasons, strict=True))
    broken = [SkippedFile(path, reason) for (path, _), reason in pairs if reason is not None]
    skipped = (*unnameable, *broken)
    if skipped and (strict or len(broken) == len(found)):
        refuse_skipped("none of the images is readable" if len(broken) == len(found) else "strict", skipped)
    good = [item for item, reason in pairs if reason is None]
    images = ImageFiles(tuple(file for _, file in good), channels, image_size)
    return images, tuple(path for path, _ in good), skipped


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
