"""counterpoise: `fit`, then `predict` (`--train` for `train` with its defaults: one network from scratch)."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

from common import Task


def main() -> None:
    task = Task()
    command = [sys.executable, "-m", "counterpoise"]
    run = task.out / "fit"
    if "--train" in task.options:
        made = ["train", str(task.train), "--out", str(run)]
        model = run
    else:
        seconds = f"{int(task.seconds_left())}s"
        # Like the other peers: the benchmark has test images of its own.
        made = ["fit", str(task.train), "--budget", seconds, "--test-fraction", "0", "--out", str(run)]
        model = run / "best"
    subprocess.run([*command, *made, "--seed", str(task.seed)], check=True)
    task.fitted()
    table = task.out / "table.csv"
    subprocess.run([*command, "predict", str(model), str(task.test), "--out", str(table)], check=True)
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    predicted = {Path(row[0]).name: row[1] for row in rows[1:]}
    task.save([predicted[path.name] for path in task.images])


if __name__ == "__main__":
    main()
