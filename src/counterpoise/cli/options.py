"""Options of a command, derived from its settings; the command line only parses tokens."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

from cyclopts import Group, Parameter
from pydantic import ConfigDict

from counterpoise.cli.printing import Names, say
from counterpoise.config import Config, Setting, dump_config, load_config, option, settings_of

OPTIONS = "Options"


class Call(Config):
    """How a command was called, beside its settings; `line` is the command line as typed, for records."""

    model_config = ConfigDict(title="Output")

    line: str = ""
    config_file: Path | None = option(None, metavar="FILE", flag="config")
    """YAML file of settings; flags come first."""
    print_config: bool = option(False, "Print the settings as YAML, with a description of each, and stop.")
    as_json: bool = option(False, "Print JSON, and nothing else, on stdout.", flag="json")


class Command:
    """A command in the form that cyclopts reads: one parameter for each field of its `settings`."""

    def __init__(self, function: Callable[[Any, Call], int | None]) -> None:
        self.function = function
        self.model = get_type_hints(function)["config"]
        self.settings = tuple(settings_of(self.model))
        self.calling = tuple(s for s in settings_of(Call) if self.settings or s.name == "as_json")
        self.names = Names((*self.settings, *self.calling))
        self.name = self.__name__ = function.__module__.rpartition(".")[2]
        parameters = list(self._parameters())
        self.__signature__ = inspect.Signature(parameters)
        self.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}

    @property
    def usage(self) -> str:
        """First line of the help."""
        words = (f"{s.metavar}..." if _takes_many(s) else s.metavar for s in self.settings if s.positional)
        return " ".join(["Usage: counterpoise", self.name, *words, "[OPTIONS]"])

    def __call__(self, *arguments: Any, line: str = "", **values: Any) -> int:
        """Validate the settings and run the command; return its exit code."""
        names = [setting.name for setting in self.settings if setting.positional]
        values |= dict(zip(names, arguments, strict=False))
        given = {s.path: values[s.name] for s in self.settings if values.get(s.name) is not None}
        call = Call(line=line, **{s.name: values[s.name] for s in self.calling if values.get(s.name)})
        settings = load_config(self.model, call.config_file, given)
        if not call.print_config:
            return self.function(settings, call) or 0
        for text in dump_config(settings).splitlines():
            say(text)
        return 0

    def _parameters(self) -> Iterator[inspect.Parameter]:
        settings = sorted((*self.settings, *self.calling), key=lambda setting: not setting.positional)
        panels = dict.fromkeys([OPTIONS, *(setting.panel or OPTIONS for setting in settings)])
        groups = {panel: Group(panel, sort_key=place) for place, panel in enumerate(panels)}
        for setting in settings:
            place: Any = inspect.Parameter.KEYWORD_ONLY
            name = f"--{setting.flag}"
            grouped: Any = {"group": groups[setting.panel or OPTIONS]}
            if setting.positional:
                # cyclopts has a group of its own for arguments.
                place, name, grouped = inspect.Parameter.POSITIONAL_ONLY, setting.metavar, {}
            parameter = Parameter(
                name=(name,),
                help=self.names.translate(setting.description),
                metavar=setting.metavar,
                negative=(f"--no-{setting.flag}",) if setting.default is True else (),
                show_default=self.names.translate(shown_default(setting) or "") or False,
                **grouped,
            )
            kind: Any = list[str] if _takes_many(setting) else bool if setting.annotation is bool else str
            annotation = Annotated[kind | None, parameter]
            yield inspect.Parameter(setting.name, place, default=None, annotation=annotation)


def _takes_many(setting: Setting) -> bool:
    return get_origin(setting.annotation) is tuple


def shown_default(setting: Setting) -> str | None:
    """Return the default in words, or None where there is none to show."""
    if setting.shown is not None or setting.default is None or isinstance(setting.default, bool):
        return setting.shown
    return str(setting.default)
