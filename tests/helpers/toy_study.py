"""A study of nothing, whose tasks do what their plan says; in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pandas as pd

from counterpoise.config import make_config
from counterpoise.exceptions import NotApplicable, TrainingError
from counterpoise.files import read_json, write_json
from counterpoise.studies.engine.study import Conclusion, Study
from counterpoise.studies.engine.tasks import Task, failed_runs, not_applicable


@dataclass(frozen=True)
class ToyStudy(Study):
    """Plans by key: what a task does, perhaps after ``needed>`` and the key of another."""

    plans: dict

    kind = "toy"
    marker = "toy.json"
    plan = SimpleNamespace(config=make_config(device="cpu"), identity="toy")

    def tasks(self, folder):
        tasks = []
        for key, plan in self.plans.items():
            *needs, plan = plan.split(">")
            path, record = folder / "runs" / key, folder / "runs" / key / "result.json"
            done = read_json(record) if record.exists() else None
            common = {"dataset": None, "path": path, "needs": tuple(needs), "done": done}
            tasks.append(Task(key=key, name=key, repeat=0, plan=plan, **common))
        return tasks

    def execute(self, task, folder, on_progress):
        attempts = folder / f"attempts-{task.key}"
        with attempts.open("a") as file:
            file.write("x")
        if task.plan == "die" or (task.plan == "die once" and attempts.read_text() == "x"):
            os.kill(os.getpid(), signal.SIGKILL)
        if task.plan == "fail":
            raise TrainingError("the loss became nan")
        if task.plan == "break":
            raise ValueError("two\nlines")
        if task.plan == "bug":
            raise KeyError("a bug")
        if task.plan == "not here":
            raise NotApplicable("there are no rare classes")
        if task.plan == "slow":
            time.sleep(0.5)
        while task.plan == "await b" and not (folder / "runs/b/result.json").exists():
            time.sleep(0.05)
        result = {"process": os.getpid(), "time": time.monotonic()}
        write_json(task.path / "result.json", result)
        return result

    def conclude(self, outcomes, folder, seconds):
        summary = {"failed": failed_runs(outcomes), **not_applicable(outcomes)}
        keys = [outcome.task.key for outcome in outcomes if outcome.result is not None]
        return Conclusion(pd.DataFrame({"key": keys}), summary, outcomes)

    def write_page(self, concluded, folder):
        (folder / "page.txt").write_text(str(len(concluded.table)))
