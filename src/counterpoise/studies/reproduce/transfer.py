"""The lecture's transfer study as a table: one study for each split of the classes, results and page in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from counterpoise.config import ReproduceConfig, TransferConfig
from counterpoise.datasets import ImageDataset, load_dataset
from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.files import copy_file, read_object, refuse_unexpected, write_json
from counterpoise.runs import ARCHIVE, TransferRecord, read_trainings, write_lines, write_results
from counterpoise.studies.engine.summaries import StudySummary
from counterpoise.studies.reproduce.page import render_pages
from counterpoise.studies.reproduce.sources import load_images
from counterpoise.studies.reproduce.summary import found_values, rehearsal
from counterpoise.studies.reproduce.tables import Setting, Table
from counterpoise.studies.transfer.page import TREATMENT_TITLES, page_content
from counterpoise.studies.transfer.plan import make_transfer_plan
from counterpoise.studies.transfer.study import TransferResult, TransferStudy

_FIELDS = {"layers", "epochs", "batch_size", "lr", "images_per_class", "source_images_per_class"}


def reproduce_transfer(
    table: Table,
    config: ReproduceConfig,
    out: Path,
    run: Callable[[TransferStudy, Path], TransferResult],
    *,
    command: str = "",
    load: Callable[..., ImageDataset] = load_dataset,
) -> StudySummary:
    """Run the trainings of a table that are not done, write its results and pages to `out`, and return its summary.

    `run` runs one study in its folder, as `run_study` does; `command` is the command line, for the record. Before
    anything is trained, InputError or RunFolderError is raised if an option is refused, images are absent or the
    archive of `resume_from` is damaged.
    """
    asked = _asked_lines(table, config)
    earlier = read_trainings(config.resume_from / ARCHIVE) if config.resume_from else []
    if config.render_only and not earlier and not any(out.glob("*/cells/*.json")):
        raise InputError(f"{out} holds no runs of {table.name} to make a page of; leave out `render_only`")
    if not any((out / setting.name).exists() for setting in table.settings):
        refuse_unexpected(out, "table")
    images: dict[str, tuple[str, ImageDataset]] = {}
    for data in dict.fromkeys(setting.data for setting in table.settings):
        images[data] = load_images(data, data_dir=config.data_dir, subset=config.subset, load=load)
    studies = {
        s.name: _study(table, s, config, images[s.data], out / s.name, earlier, asked=s.name in asked)
        for s in table.settings
    }
    if config.resume_from and not any(study.taken for study in studies.values()):
        raise InputError(
            f"{config.resume_from} holds no run of {table.name} with these images and settings; leave out `resume_from`"
        )
    results = {name: run(study, out / name) for name, study in studies.items()}
    datasets = {name: dataset for name, (_, dataset) in images.items()}
    commands = _earlier_commands(config.resume_from, out)
    commands += [] if command in commands else [command]
    summary = _summarize(table, results, rehearsal(table, config.subset, datasets), commands)
    summary["runs"]["earlier"] = sum(len(study.taken) for study in studies.values())
    _write(table, results, summary, out)
    return cast(StudySummary, summary)


def _asked_lines(table: Table, config: ReproduceConfig) -> list[str]:
    """Return the names of the lines to run; raises `UnknownNameError` for one that is not of the table."""
    names = [setting.name for setting in table.settings]
    only = [name.strip() for name in config.only.split(",")] if config.only else names
    for name in only:
        if name not in names:
            raise UnknownNameError(f"line of {table.name}", name, names)
    return only


def _earlier_commands(*folders: Path | None) -> list[str]:
    """Return the command lines that have run something for the results in these folders."""
    paths = [folder / "summary.json" for folder in folders if folder is not None]
    found = [command for path in paths if path.exists() for command in read_object(path).get("commands", [])]
    return list(dict.fromkeys(found))


def _study(
    table: Table,
    setting: Setting,
    config: ReproduceConfig,
    images: tuple[str, ImageDataset],
    folder: Path,
    earlier: Sequence[TransferRecord],
    *,
    asked: bool,
) -> TransferStudy:
    """Return the study of one line; finished repeats are shown, also where fewer are asked for."""
    source, dataset = images
    own = setting.repeats or table.repeats
    settings = TransferConfig.of(
        source=source,
        repeats=max(own, config.repeats or own),
        backbone=setting.network,
        task_split=setting.split,
        device=config.device,
        **setting.model_dump(include=_FIELDS, exclude_none=True),
    )
    plan = make_transfer_plan(dataset, settings)
    taken = [record for record in earlier if record.identity == plan.identity]
    seen = [int(path.name[4:7]) for path in folder.glob("cells/draw*.json")]
    count = max([*(record.draw for record in taken), *seen, len(plan.repeats) - 1]) + 1
    wanted = (config.repeats or own) if asked and not config.render_only else 0
    return TransferStudy(replace(plan, repeats=tuple(range(count))), dataset, wanted, taken)


def _summarize(
    table: Table, results: Mapping[str, TransferResult], differences: Sequence[str], commands: Sequence[str]
) -> dict[str, Any]:
    records = [record for result in results.values() for record in result.results]
    return {
        "format": 1,
        "table": table.name,
        **table.model_dump(include={"title", "paper", "notes"}),
        "draws": table.repeats,
        "rehearsal": differences,
        "methods": TREATMENT_TITLES,
        "lines": [setting.model_dump() | {"title": setting.title} for setting in table.settings],
        "studies": {name: result.summary for name, result in results.items()},
        "failed": [failure for result in results.values() for failure in result.summary["failed"]],
        "runs": {
            "planned": sum(len(result.outcomes) for result in results.values()),
            "done": len(records),
            "seconds": round(sum(record["seconds"] for record in records), 1),
        },
        "commands": list(commands),
        **{key: found_values([record[key] for record in records]) for key in ("versions", "hardware")},
    }


def _write(table: Table, results: Mapping[str, TransferResult], summary: dict[str, Any], out: Path) -> None:
    """Write ``results.csv``, ``summary.json``, the archive, the pictures and the pages."""
    shown = {name: result for name, result in results.items() if result.summary["curves"]}
    rows = {(table.name, name): result.table for name, result in (shown or results).items()}
    write_results(out / "results.csv", pd.concat(rows, names=["table", "setting"]).reset_index([0, 1]))
    write_json(out / "summary.json", summary)
    write_lines(out / ARCHIVE, [record for result in results.values() for record in result.results])
    for name in shown:
        copy_file(out / name / "transfer.png", out / f"{name}.png")
    again = f"counterpoise reproduce {table.name} --resume-from DIR --export-to DIR (DIR is the folder of this page)"
    done = [f"{name}: {r.summary['done']} of {r.summary['planned']} repeats." for name, r in results.items()]
    content = page_content({name: (result.summary, out / f"{name}.png") for name, result in shown.items()})
    missing = [*done, f"To resume, also on another machine: {again}."]
    render_pages(summary, {"missing": missing, **content}, out)
