"""Options of a command, derived from its settings; the command line only parses tokens."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from cyclopts import Group, Parameter

from counterpoise.cli.names import Names
from counterpoise.cli.printing import say
from counterpoise.config import Setting, dump_config, load_config, settings_of

OPTIONS, OUTPUT = "Options", "Output"


@dataclass(frozen=True)
class Call:
    """How a command was called, beside its settings.

    Attributes
    ----------
    line : str
        The command line as typed, for records.
    as_json : bool
        Whether stdout is for JSON alone.
    """

    line: str
    as_json: bool


class Command:
    """A command in the form that cyclopts reads: one parameter for each field of its settings.

    Attributes
    ----------
    settings : tuple of Setting
        Every field, flat.
    """

    def __init__(self, function: Callable[[Any, Call], int | None]) -> None:
        self.function = function
        self.model = get_type_hints(function)["config"]
        self.settings = tuple(settings_of(self.model))
        self.names = Names(self.settings)
        self.name = self.__name__ = function.__module__.rpartition(".")[2]
        parameters = list(self._parameters())
        self.__signature__ = inspect.Signature(parameters)
        self.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}

    @property
    def usage(self) -> str:
        """First line of the help."""
        words = (f"{s.metavar}..." if _takes_many(s) else s.metavar for s in self.settings if s.positional)
        return " ".join(["Usage: counterpoise", self.name, *words, "[OPTIONS]"])

    def __call__(
        self,
        *arguments: Any,
        line: str = "",
        json: bool = False,
        config: str | None = None,
        print_config: bool = False,
        **values: Any,
    ) -> int:
        """Validate the settings and run the command; return its exit code."""
        positional = (setting for setting in self.settings if setting.positional)
        given = {setting.path: value for setting, value in zip(positional, arguments, strict=False)}
        given |= {setting.path: values[setting.name] for setting in self.settings if setting.name in values}
        given = {path: value for path, value in given.items() if value is not None}
        settings = load_config(self.model, None if config is None else Path(config), given)
        if print_config:
            for text in dump_config(settings).splitlines():
                say(text)
            return 0
        return self.function(settings, Call(line, json)) or 0

    def _parameters(self) -> Iterator[inspect.Parameter]:
        panels = dict.fromkeys([OPTIONS, *(setting.panel or OPTIONS for setting in self.settings), OUTPUT])
        groups = {panel: Group(panel, sort_key=place) for place, panel in enumerate(panels)}
        for setting in sorted(self.settings, key=lambda setting: not setting.positional):
            # cyclopts has a group of its own for arguments.
            grouped: Any = {} if setting.positional else {"group": groups[setting.panel or OPTIONS]}
            yield self._parameter(setting, grouped)
        for name, kind, text in (
            ("config", str | None, "YAML file of settings; flags come first."),
            ("print_config", bool, "Print the settings as YAML, with a description of each, and stop."),
            ("json", bool, "Print JSON, and nothing else, on stdout."),
        ):
            if self.settings or name == "json":
                yield _keyword(name, kind, None if name == "config" else False, text, groups[OUTPUT])

    def _parameter(self, setting: Setting, grouped: Any) -> inspect.Parameter:
        kind: Any = list[str] if _takes_many(setting) else bool if setting.annotation is bool else str
        option = Parameter(
            name=(setting.metavar,) if setting.positional else (f"--{setting.flag}",),
            help=self.names.translate(setting.description),
            metavar=setting.metavar,
            negative=(),
            show_default=self.names.translate(shown_default(setting) or "") or False,
            **grouped,
        )
        place = inspect.Parameter.POSITIONAL_ONLY if setting.positional else inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(setting.name, place, default=None, annotation=Annotated[kind | None, option])


def _keyword(name: str, kind: Any, default: Any, text: str, group: Group) -> inspect.Parameter:
    option = Parameter(help=text, group=group, negative=(), metavar="FILE", show_default=False)
    annotation = Annotated[kind, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _takes_many(setting: Setting) -> bool:
    return get_origin(setting.annotation) is tuple


def shown_default(setting: Setting) -> str | None:
    """Return the default in words, or None where there is none to show."""
    if setting.shown is not None or setting.default is None or isinstance(setting.default, bool):
        return setting.shown
    return str(setting.default)
