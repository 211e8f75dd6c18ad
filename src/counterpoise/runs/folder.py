"""Run folders: one finished or unfinished run each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from counterpoise.balance.adjust import Adjustment, adjustment_from_state
from counterpoise.exceptions import RunFolderError
from counterpoise.files import locked_folder, read_object, refuse_unexpected, write_json
from counterpoise.networks import Network, load_network

FORMAT = 1


# The workers of a killed comparison end within seconds; a run started again waits for them.
SECONDS_TO_WAIT = 20


# What of a run's record a model is rebuilt and evaluated from.
NEEDED = {
    "dataset": {"classes", "fingerprint", "minority"},
    "network": {"name", "num_classes", "in_channels", "image_size", "mean", "std"},
}


class RunFolder:
    """A folder that holds one run.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the finished run in `path`.

        Raises
        ------
        RunFolderError
            If there is none, or it is unfinished.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise RunFolderError(f"{path} is not a folder; give a run folder, e.g. OUT/best")
        if not folder.record_path.exists():
            raise RunFolderError(f"{path} holds no run.json; give a run folder, e.g. OUT/best")
        if not folder.is_complete():
            raise RunFolderError(f"{path} holds an unfinished run; give the same command again to finish it")
        folder._check_record()
        return folder

    def _check_record(self) -> None:
        """Make sure that what a model cannot be used without is there."""
        for part, names in NEEDED.items():
            value = self.record.get(part)
            missing = sorted(names - value.keys()) if isinstance(value, dict) else [part]
            if missing:
                raise RunFolderError(f"{self.record_path} is damaged: it lacks {missing[0]!r}; train again")

    @property
    def record_path(self) -> Path:
        """Where ``run.json`` stands."""
        return self.path / "run.json"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints stand."""
        return self.path / "checkpoints"

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        return read_object(self.record_path)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        return read_object(self.path / "metrics.json")

    def is_complete(self, config_hash: str | None = None) -> bool:
        """Return whether the run is finished (and, if given, is the one of `config_hash`)."""
        if not self.record_path.exists():
            return False
        record = read_object(self.record_path)
        return record.get("status") == "complete" and config_hash in (None, record.get("config_hash"))

    def load_network(self) -> Network:
        """Return the trained network, in evaluation mode on the CPU."""
        return load_network(self.record["network"], self.path / "model.safetensors").eval()

    def load_adjustment(self) -> Adjustment | None:
        """Return what is done to the logits after training, if anything."""
        state = self.record.get("adjust")
        return None if state is None else adjustment_from_state(state)

    @contextmanager
    def claimed(self, config_hash: str) -> Iterator[None]:
        """Hold the folder for one run: no other process may write into it, nor a run of another configuration.

        Raises
        ------
        RunFolderError
            If the folder holds or is held by another run.
        """
        self.check_owner(config_hash)
        with locked_folder(self.path, timeout=SECONDS_TO_WAIT):
            if not self.check_owner(config_hash):
                write_json(
                    self.record_path, {"format": FORMAT, "status": "running", "config_hash": config_hash}
                )
            try:
                yield
            except SafetensorError as error:
                # Checkpoints are written in Rust, whose errors are no OSErrors; what is read is checked apart.
                raise RunFolderError(
                    f"cannot write {self.path}: {error}; free some space or choose another `out`"
                ) from error

    def check_owner(self, config_hash: str) -> bool:
        """Return whether the folder holds this run already; refuse one that holds anything else.

        Raises
        ------
        RunFolderError
            If it does.
        """
        if self.record_path.exists():
            if read_object(self.record_path).get("config_hash") != config_hash:
                raise RunFolderError(
                    f"{self.path} holds another run (other data, method or settings); choose another `out`"
                )
            return True
        refuse_unexpected(self.path, "run")
        return False
