"""Settings as YAML, nested as the models are."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from counterpoise.config.base import Config, nested, validated
from counterpoise.exceptions import InputError

C = TypeVar("C", bound=Config)
WIDTH = 100


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
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
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
    >>> from counterpoise.config.uses import ExportConfig
    >>> print(dump_config(ExportConfig(run="out/run", file="model.onnx")))
    # A run folder, or a comparison's OUT/best.
    run: out/run
    # The file to write.
    file: model.onnx
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
        lines += textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        [plain] = config.model_dump(mode="json", include={name}).values()
        lines += [indent + line for line in yaml.safe_dump({name: plain}, allow_unicode=True).splitlines()]
    return lines
