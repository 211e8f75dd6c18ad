"""Weights of timm on the Hugging Face Hub, and their local cache."""

from __future__ import annotations

import difflib
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from counterpoise.exceptions import InputError

#: Names under which repositories hold their weights, in order of preference.
_FILES = ("model.safetensors", "pytorch_model.bin")
#: Time in seconds in which the Hub has to answer.
_TIMEOUT = 10.0


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """Weights of timm on the Hugging Face Hub; `name` has the tag, `files` are possible names in the repository."""

    name: str
    repository: str
    files: tuple[str, ...] = _FILES
    license: str | None = None

    @property
    def origin(self) -> str:
        """Where the weights are from, in words."""
        return f"Hugging Face Hub, {self.repository}"

    def cached_file(self) -> Path | None:
        """Return the file in the local cache, or None; there is no request."""
        from huggingface_hub import try_to_load_from_cache

        found = (try_to_load_from_cache(self.repository, file) for file in self.files)
        return next((Path(file) for file in found if isinstance(file, str)), None)

    def local_file(self) -> Path:
        """Return the file in the local cache, downloaded where it is absent; `InputError` in one line if that fails."""
        from huggingface_hub import constants, errors, hf_hub_download

        cached = self.cached_file()
        if cached is not None:
            return cached
        server, unreachable = constants.ENDPOINT, None
        if constants.HF_HUB_OFFLINE:
            unreachable = "HF_HUB_OFFLINE forbids a download"
        elif not _reachable(server):
            unreachable = f"{server} cannot be reached"
        advice = f"connect once, or give `pretrained` a file of {self.name}, auto or none"
        if unreachable is not None:
            raise InputError(f"{self.name} is not in the local cache, and {unreachable}; {advice}")
        for file in self.files:
            try:
                return Path(hf_hub_download(self.repository, file, etag_timeout=_TIMEOUT))
            except Exception as error:  # of the Hub (no such repository), the connection, or the disk
                absent = isinstance(error, errors.EntryNotFoundError)
                if absent and not isinstance(error, errors.LocalEntryNotFoundError):
                    continue
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
                raise InputError(f"cannot download {self.name} from {server}: {reason}; {advice}") from error
        raise InputError(f"{self.repository} on {server} holds none of {', '.join(self.files)}; {advice}")


def _reachable(endpoint: str) -> bool:
    """Return whether a server answers; huggingface_hub itself retries for a minute before it gives up."""
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=_TIMEOUT).close()
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # huggingface_hub may have other certificates
    except OSError:
        return False
    return True


def find_source(name: str) -> HubSource:
    """Return the weights of a model of timm, with its tag or of its default one; `InputError` if there are none."""
    import timm

    name = name.removeprefix("timm:")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        nearest = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise InputError(
            f"`pretrained` {name}: no such file, and timm has no weights of that name{hint}; "
            "`counterpoise backbones` lists some"
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if not tags or (tag and tag not in tags):
        known = f"it has {', '.join(tags)}" if tags else "give `pretrained` a file, or none"
        raise InputError(f"timm has no weights {f'{tag} ' if tag else ''}of {architecture}; {known}")
    config = timm.get_pretrained_cfg(name)
    if config is None or config.hf_hub_id is None:
        raise InputError(
            f"the weights of {name} are not on the Hugging Face Hub; give `pretrained` a file of them"
        )
    return HubSource(
        name=f"{architecture}.{config.tag}",
        repository=config.hf_hub_id,
        files=(config.hf_hub_filename,) if config.hf_hub_filename else _FILES,
        license=config.license,
    )
