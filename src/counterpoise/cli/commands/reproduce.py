"""Reproduce a published table, and show its numbers beside ours.

Finished runs are kept: give the command again to resume after an interruption, or to add repeats.
"""

from functools import partial
from pathlib import Path
from typing import Any

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, command_line, print_json, print_table, say
from counterpoise.cli.running import finish, load, run_with_bars
from counterpoise.config import DataConfig, ReproduceConfig
from counterpoise.exceptions import InputError

PANEL = "Studies"
ORDER = 130


@Command
def command(config: ReproduceConfig, call: Call) -> int:
    from counterpoise.studies import all_tables, get_table

    if config.table is None:
        rows = [{"table": t.name, "title": t.title, "paper": t.paper} for t in all_tables()]
        if call.as_json:
            print_json(rows)
        else:
            print_table(["table", "contents", "from"], [list(row.values()) for row in rows])
        return 0
    table, folder = get_table(config.table), config.out or Path("out") / config.table
    read = partial(_load, quiet=call.as_json)
    if table.study == "transfer":
        from counterpoise.studies import ReproductionStudy, publish, reproduce_transfer

        summary = reproduce_transfer(
            table,
            config,
            folder,
            lambda study, out: run_with_bars(study, out, config, tasks=len(study.plan.cells)),
            command=call.line,
            load=read,
        )
        if config.export_to is not None:
            publish(ReproductionStudy, folder, config.export_to)
        return finish(summary, lambda: say(f"page: {folder / 'page.html'}"), as_json=call.as_json)
    if table.study == "enhance":
        from counterpoise.studies.reproduce import study_commands

        words, absent = study_commands(table, config.data_dir, config.out)
        give = "; ".join([" and ".join(command_line(*each) for each in words), *absent])
        raise InputError(f"{table.name} is a study of its own, with a page of its own; give {give}")

    from counterpoise.studies import ReproductionStudy, plan_table, publish
    from counterpoise.studies.reproduce import closeness, verdicts

    plan = plan_table(
        table,
        repeats=config.repeats,
        subset=config.subset,
        data_dir=config.data_dir,
        device=config.device,
        command=call.line,
        load=read,
    )
    lines = tuple(name.strip() for name in config.only.split(",")) if config.only else ()
    study = ReproductionStudy(plan, lines, config.resume_from, config.render_only)
    runs = 0 if config.render_only else len(plan.only(lines).runs())
    result = run_with_bars(study, folder, config, tasks=runs)
    if config.export_to is not None:
        publish(ReproductionStudy, folder, config.export_to)

    def show() -> None:
        summary = result.summary
        for sentence in closeness(summary) + verdicts(summary):
            advise(sentence)
        runs = summary["runs"]
        earlier = f", {runs['earlier']} of them earlier" if runs["earlier"] else ""
        done = f"{runs['done']} of {runs['planned']} runs done{earlier}"
        say(f"{done}; the whole table takes {runs['trainings']} networks")
        say(f"published beside ours: {folder / 'page.html'}")

    return finish(result.summary, show, as_json=call.as_json)


def _load(source: str, *, quiet: bool, **settings: Any) -> Any:
    return load(DataConfig(source=source, **settings), quiet=quiet)
