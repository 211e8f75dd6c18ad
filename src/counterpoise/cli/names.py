"""Spellings: what parameters of the library are called on the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from counterpoise.config import Setting


class Names:
    """Names of the fields of a command on the command line."""

    def __init__(self, settings: Sequence[Setting] = ()) -> None:
        self.flags = {f"--{setting.flag}" for setting in settings}
        self.switches = {f"--{s.flag}" for s in settings if s.annotation is bool}
        self.valued = {f"--{s.flag}" for s in settings if not s.positional} - self.switches
        self.hidden = {f"--{name}": f"--{s.flag}" for s in settings for name in s.aliases}
        self.hidden |= {f"--no-{flag[2:]}": f"{flag}=false" for flag in self.switches}
        self.renamed = {f"--{name}": f"--{s.flag}" for s in settings for name in s.renamed}
        self.python = {s.name: s.metavar if s.positional else f"--{s.flag}" for s in settings}
        # Python names that the library keeps for what the command line renamed.
        for old, new in self.renamed.items():
            self.python.setdefault(old[2:].replace("-", "_"), new)

    def translate(self, message: str, keep: Iterable[str] = ()) -> str:
        """Return a message of the library with flags in place of the parameters that it has in backticks.

        Names in `keep` that are no parameters here stay as they are.

        Examples
        --------
        >>> Names().translate("cannot write x; choose another `out`")
        'cannot write x; choose another --out'
        """

        def flag(match: re.Match[str]) -> str:
            name = match[1]
            if name not in self.python and name in keep:
                return match[0]
            return self.python.get(name, "--" + name.replace("_", "-"))

        return re.sub(r"`([a-z_]+)`", flag, message)

    def current(self, tokens: Sequence[str]) -> list[str]:
        """Return tokens with flags in their present spelling and with their values; of a flag given twice, the last.

        A flag that has been renamed, or has no value, is refused.

        Examples
        --------
        >>> from counterpoise.config import TrainConfig, settings_of
        >>> Names(list(settings_of(TrainConfig))).current(["x", "--lr", "1", "--opt=sgd", "--lr", "-1"])
        ['x', '--optimizer=sgd', '--lr=-1']
        """
        found: dict[str, str] = {}
        rest = list(tokens)
        while rest:
            token = rest.pop(0)
            if token == "--":
                return [*found.values(), token, *rest]
            flag, equals, value = token.partition("=")
            if flag in self.renamed and flag not in self.flags:
                raise InputError(f"{flag} is now {self.renamed[flag]}; give {self.renamed[flag]}")
            flag, _, fixed = self.hidden.get(flag, flag).partition("=")
            if flag in self.valued:
                if not equals and (not rest or rest[0].startswith("--")):
                    raise InputError(f"{flag} needs a value")
                found.pop(flag, None)
                found[flag] = f"{flag}={value if equals else rest.pop(0)}"
            elif flag in self.switches:
                found[flag] = f"{flag}={fixed}" if fixed else token
            else:
                found[f"{token} {len(rest)}"] = token
        return list(found.values())


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean ...?"`` for the known word that is most like `word`, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
