"""Fields of the settings, their flat view, one list of all faults, and YAML, nested as the models are."""

import difflib
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from counterpoise.exceptions import InputError
from counterpoise.files import check_file, expand_user

LARGEST_INTEGER = 2**31 - 1


class Config(BaseModel):
    """Base class of all settings: immutable, unknown names are refused.

    The title in ``model_config`` is the heading of the fields in the help. A subclass lists in `unused` the inherited
    fields that have no effect in it; giving one is refused.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, use_attribute_docstrings=True
    )
    unused: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def of(cls: type["C"], **values: Any) -> "C":
        """Return settings from the names of fields at any depth, which are unique.

        Examples
        --------
        >>> from counterpoise.config.commands import CompareConfig
        >>> CompareConfig.of(epochs=3, methods="bl").train.epochs
        3
        """
        paths = {setting.name: setting.path for setting in settings_of(cls)}
        return validated(cls, nested({paths.get(name, (name,)): value for name, value in values.items()}))

    @field_validator("*", mode="after")
    @classmethod
    def _refuse_extremes(cls, value: Any) -> Any:
        # Beyond these, libraries overflow far away from the setting that is at fault.
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value}, expected a finite number")
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ValueError(f"{value:.3g}, expected at most {LARGEST_INTEGER:,}")
        if isinstance(value, tuple):
            return tuple(expand_user(item) if isinstance(item, Path) else item for item in value)
        if isinstance(value, Path):
            plain = str(value).encode("utf-8", "replace").decode()
            if plain != str(value):  # neither records nor safetensors can hold it
                raise ValueError(f"{plain} is not valid UTF-8; rename it")
            return expand_user(value)
        return value

    @model_validator(mode="after")
    def _refuse_unused(self) -> "Config":
        for name in self.unused:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` has no effect here; leave it out")
        return self


def option(
    default: Any,
    description: str | None = None,
    *,
    metavar: str | None = None,
    panel: str | None = None,
    flag: str | None = None,
    aliases: tuple[str, ...] = (),
    renamed: tuple[str, ...] = (),
    shown: str | None = None,
    positional: bool = False,
    **bounds: Any,
) -> Any:
    """Return a pydantic field with everything that help, YAML and documents say about it.

    Parameters
    ----------
    default : object
        Value of a field that is not given; ``...`` for a field that must be given.
    description : str, optional
        One sentence, or else the string below the field. Names of other fields stand in backticks.
    metavar, panel, flag : str, optional
        Placeholder of the value (default: by type), heading in the help (the title of the model), and long option.
    aliases, renamed : tuple of str
        Further accepted spellings, which help does not list, and former ones, which are refused with the new name.
    shown : str, optional
        Default in words, where the value itself says nothing.
    **bounds
        Of `pydantic.Field`: ``ge``, ``gt``.
    """
    extra: dict[str, Any] = {"metavar": metavar, "panel": panel, "flag": flag, "aliases": aliases}
    extra |= {"renamed": renamed, "shown": shown, "positional": positional}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


METAVARS = {"Path": "DIR", "int": "N", "float": "X", "": "NAME"}
"""Placeholder of a value by a word in its type."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of a tree of settings, as one flat list shows it; attributes as in `option`."""

    path: tuple[str, ...]
    default: Any
    annotation: Any
    description: str
    metavar: str
    panel: str | None
    flag: str
    aliases: tuple[str, ...]
    renamed: tuple[str, ...]
    shown: str | None
    positional: bool

    @property
    def name(self) -> str:
        """Name of the field."""
        return self.path[-1]


def settings_of(model: type[Config], *, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Yield every `option` of `model` and of the models nested in it, in order."""
    for name, field in model.model_fields.items():
        if name in model.unused:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            yield from settings_of(field.annotation, path=(*path, name))
            continue
        if field.json_schema_extra is None:
            continue
        extra: dict[str, Any] = {**field.json_schema_extra}  # type: ignore[dict-item]
        yield Setting(
            path=(*path, name),
            default=None if field.is_required() else field.default,
            annotation=field.annotation,
            description=" ".join((field.description or "").split()),
            metavar=extra.pop("metavar")
            or next(v for k, v in METAVARS.items() if k in str(field.annotation)),
            panel=extra.pop("panel") or model.model_config.get("title"),
            flag=extra.pop("flag") or name.replace("_", "-"),
            **extra,
        )


C = TypeVar("C", bound=Config)


def nested(given: Mapping[tuple[str, ...], Any], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return `values`, nested as a model is, with those at the paths of `given` put in their place.

    Examples
    --------
    >>> nested({("train", "epochs"): 3}, {"train": {"lr": 1}, "out": "x"})
    {'train': {'lr': 1, 'epochs': 3}, 'out': 'x'}
    """
    merged = dict(values or {})
    for path, value in given.items():
        section = merged
        for part in path[:-1]:
            inner = section.get(part)
            section[part] = section = dict(inner) if isinstance(inner, Mapping) else {}
        section[path[-1]] = value
    return merged


def validated(model: type[C], values: Mapping[str, Any], *, where: str = "", given: Any = ()) -> C:
    """Return a model of `values`, nested as it is; the `InputError` names everything that is wrong with them.

    `where` is the file that values were read from, but for those at the paths `given`.

    Examples
    --------
    >>> from counterpoise.config.run import TrainConfig
    >>> validated(TrainConfig, {"epochs": 0, "lrate": 1, "optimizer": "adm"})
    Traceback (most recent call last):
    ...
    counterpoise.exceptions.InputError: `epochs` 0: expected at least 1;
    `optimizer` adm: expected 'adam', 'adamw' or 'sgd'; unknown setting lrate; did you mean lr?
    """
    try:
        return model(**values)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            path = tuple(str(part) for part in fault["loc"])
            prefix = f"{where}: " if where and path not in given else ""
            faults.append(prefix + _fault(model, path, fault, dotted=bool(prefix)))
        raise InputError("; ".join(faults)) from None


PLAIN_WORDS = {
    "expected greater than or equal to": "expected at least",
    "expected greater than": "expected more than",
    "expected less than or equal to": "expected at most",
    "a valid integer": "an integer",
    "a valid ": "a ",
}


def _fault(model: type[Config], path: tuple[str, ...], fault: Mapping[str, Any], *, dotted: bool) -> str:
    kind, message = fault["type"], fault["msg"]
    label = ".".join(path) if dotted else f"`{path[-1]}`" if path else ""
    if kind == "extra_forbidden":
        for part in path[:-1]:
            model = model.model_fields[part].annotation  # type: ignore[assignment]
        close = difflib.get_close_matches(path[-1], model.model_fields, n=1, cutoff=0.4)
        return f"unknown setting {'.'.join(path)}" + (f"; did you mean {close[0]}?" if close else "")
    if kind == "missing":
        return f"{label} is missing"
    if kind == "value_error":
        message = str(fault["ctx"]["error"])
        return message if message.startswith("`") or not path else f"{label}: {message}"
    message = message.replace("Input should be ", "expected ").partition(", unable")[0]
    for text, plain in PLAIN_WORDS.items():
        message = message.replace(text, plain)
    return f"{label} {fault['input']}: {message}"


def load_config(
    model: type[C], file: Path | None = None, given: Mapping[tuple[str, ...], Any] | None = None
) -> C:
    """Return settings from a YAML file and from values `given` beside it, which come first.

    `given` maps the path of a field, e.g. ``("train", "epochs")``, to its value. The `InputError` has everything that
    is wrong with both, at once.
    """
    values = nested(given or {}, None if file is None else _read(file))
    return validated(model, values, where="" if file is None else str(file), given=given or ())


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(check_file(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{file} holds no settings; expected lines such as `epochs: 3`")
    return values


def dump_config(config: Config) -> str:
    """Return settings as YAML: every field after its description; a field that was left open is ``null``.

    Examples
    --------
    >>> from counterpoise.config.commands import ExportConfig
    >>> print(dump_config(ExportConfig(run="out/run", file="model.onnx")))
    # A run folder, or a comparison's OUT/best.
    run: out/run
    # The file to write.
    file: model.onnx
    # Replace a file that exists.
    overwrite: false
    """
    return "\n".join(_lines(config, ""))


def _lines(config: Config, indent: str) -> list[str]:
    import yaml

    lines: list[str] = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if name in config.unused:
            continue
        if isinstance(value, Config):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
            continue
        shown = (field.json_schema_extra or {}).get("shown")  # type: ignore[union-attr]
        text = f"{field.description}" + (f" Default: {shown}." if shown else "")
        lines += textwrap.wrap(text, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        [plain] = config.model_dump(mode="json", include={name}).values()
        lines += [indent + line for line in yaml.safe_dump({name: plain}, allow_unicode=True).splitlines()]
    return lines
