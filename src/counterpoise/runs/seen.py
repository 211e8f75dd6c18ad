"""Keys of the images of a run: ``seen.safetensors`` in its folder, 16 bytes a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from counterpoise.exceptions import RunFolderError
from counterpoise.files import atomic_path, check_file

ROLES = ("train", "validation", "weights")
UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Keys of images, arrays of shape (N,) and dtype S16.

    ``train``, ``validation`` and ``test`` are of contents, in the order of the run's split, and ``train pixels`` and
    ``validation pixels`` of decoded pixels. ``weights`` are all keys of images that the initial weights learned from;
    the name `UNKNOWN` tells that there are more, of a run of an earlier version.

    Examples
    --------
    >>> SeenImages({"train": np.array([b"a"], "S16")}).roles(np.array([b"b", b"a"], "S16")).tolist()
    ['', 'train']
    """

    keys: Mapping[str, np.ndarray]

    def learned(self, role: str = "") -> np.ndarray:
        """Return the keys of a role of `ROLES`, or all, of images that the run learned from."""
        found = [keys for name, keys in self.keys.items() if name != "test" and name.startswith(role)]
        return np.concatenate([np.empty(0, "S16"), *found])

    def roles(self, keys: np.ndarray) -> np.ndarray:
        """Return the role of each image by its key, text of shape (N,); empty if the run did not learn from it."""
        roles = np.full(len(keys), "", "U10")
        for role in reversed(ROLES):
            roles[np.isin(keys, self.learned(role))] = role
        return roles

    def save(self, folder: Path) -> None:
        """Write ``seen.safetensors``."""
        rows = {name: np.ascontiguousarray(keys).view(np.uint8) for name, keys in self.keys.items()}
        with atomic_path(folder / "seen.safetensors") as temporary:
            temporary.write_bytes(save(rows))

    @classmethod
    def load(cls, folder: Path) -> SeenImages | None:
        """Read what `save` wrote; None in a run of an earlier version, RunFolderError if it is damaged."""
        path = folder / "seen.safetensors"
        try:
            return (
                cls({name: rows.view("S16") for name, rows in load_file(check_file(path)).items()})
                if path.exists()
                else None
            )
        except (SafetensorError, OSError, ValueError) as error:
            raise RunFolderError(f"{path} is damaged ({error}); train again") from error
