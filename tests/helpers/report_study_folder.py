"""Writes run folders and a study folder as `train` and `compare` do, with names that attack the page."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ["healthy", "<script>alert(1)</script>", 'l\'été "rose" & \u6f22\u5b57 %{x}', "benign"]
BAD_FILE = '<img src=x onerror="window.hacked=1">.png'
METHODS = {"bl": "Plain training", "ados": "ADOS", "mixup": "<b>Mixup</b>"}
METRICS = ("precision", "recall", "specificity", "f1", "gmean", "accuracy", "auc")
LAST_COLUMNS = ["classes", "metric", "value"]
SKILL = {"bl": 1.0, "ados": 2.2, "mixup": 0.6}
TRAIN = [400, 20, 400, 40]
MINORITY = [1, 3]


def make_predictions(rng: np.random.Generator, skill: float, classes: int = 4, per_class: int = 60):
    """Return true labels (N,) and probabilities (N, C) of a classifier that is worse on rare classes."""
    true = np.repeat(np.arange(classes), per_class)
    logits = rng.normal(size=(len(true), classes))
    logits[np.arange(len(true)), true] += skill + np.where(np.isin(true, MINORITY), -0.4, 1.0)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, np.round(probabilities, 6)


def evaluate(
    true: np.ndarray, probabilities: np.ndarray, names: list[str], minority: list[int]
) -> dict[str, Any]:
    """Return scores in the form of ``metrics.json``, straight from their definitions."""
    predicted, size = probabilities.argmax(axis=1), len(names)
    matrix = np.zeros((size, size), dtype=int)
    np.add.at(matrix, (true, predicted), 1)
    records = []
    for c in range(size):
        tp, fn = int(matrix[c, c]), int(matrix[c].sum() - matrix[c, c])
        fp = int(matrix[:, c].sum() - tp)
        tn = int(matrix.sum() - tp - fn - fp)
        precision, recall = tp / max(1, tp + fp), tp / max(1, tp + fn)
        yes, no = probabilities[true == c, c], probabilities[true != c, c]
        auc = float(np.mean((yes[:, None] > no) + 0.5 * (yes[:, None] == no)))
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        records.append(
            {
                "name": names[c],
                "support": tp + fn,
                "predicted": tp + fp,
                "tp": tp,
                "tn": tn,
                "fp": fp,
                "fn": fn,
            }
            | {"precision": precision, "recall": recall, "specificity": tn / (tn + fp), "f1": f1, "auc": auc}
        )

    def group(members: list[int]) -> dict[str, float]:
        scores = {
            key: float(np.mean([records[c][key] for c in members]))
            for key in ("precision", "recall", "specificity", "f1", "auc")
        }
        scores["gmean"] = float(np.prod([records[c]["recall"] for c in members]) ** (1 / len(members)))
        mask = np.isin(true, members)
        scores["accuracy"] = float(np.mean(predicted[mask] == true[mask]))
        return scores

    majority = [c for c in range(size) if c not in minority]
    return {
        "n": len(true),
        "all": group(list(range(size))),
        "majority": group(majority),
        "minority": group(minority),
        "micro": {},
        "per_class": records,
        "confusion_matrix": matrix.tolist(),
        "calibration_error": 0.1,
        "flags": [],
    }


def picture(rng: np.random.Generator) -> str:
    from PIL import Image

    y, x = np.mgrid[:28, :28]
    centre, width = rng.uniform(8, 20, size=2), rng.uniform(3, 7)
    pixels = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_held_out(folder: Path, true: np.ndarray, probabilities: np.ndarray) -> None:
    """Write the file of a run's predictions for images other than test images."""
    from counterpoise.runs import CALIBRATION, Calibration

    logits, empty = np.log(probabilities + 1e-9), np.empty(0, dtype=np.float32)
    held_out = Calibration(true, logits.astype(np.float32), empty, empty, empty, empty, empty)
    held_out.save(folder / CALIBRATION)


def write_run(folder: Path, method: str, draw: int, names: list[str] = CLASSES) -> dict[str, Any]:
    """Write one run folder and return its test scores."""
    rng = np.random.default_rng([draw, *method.encode()])
    folder.mkdir(parents=True)
    minority = [c for c in MINORITY if c < len(names)]
    true, probabilities = make_predictions(rng, SKILL[method], len(names))
    scores = evaluate(true, probabilities, names, minority)
    held_out = make_predictions(rng, SKILL[method], len(names), 20)
    validation = evaluate(*held_out, names, minority)
    if method != "mixup":
        write_held_out(folder, *held_out)
    if method == "mixup":
        scores["flags"] = [f"class {names[1]!r} is never predicted"]
    paths = [f"test/{names[label]}/{i}.png" for i, label in enumerate(true)]
    paths[0] = BAD_FILE
    predicted = probabilities.argmax(axis=1)
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "true", "predicted", *names])
        for path, t, p, row in zip(paths, true, predicted, probabilities, strict=True):
            writer.writerow([path, names[t], names[p], *row])
    config = {
        "format": 1,
        "status": "complete",
        "version": "0.1.0",
        "created": "2026-11-20T11:40:00+00:00",
        "dataset": {
            "name": "moles <1>",
            "source": "photos/<moles>.zip",
            "classes": names,
            "channels": 1,
            "image_size": [28, 28],
            "fingerprint": "ab" * 32,
            "counts": {
                "train": (TRAIN * len(names))[: len(names)]
                if draw == 0
                else (TRAIN[::-1] * len(names))[: len(names)],
                "validation": [20] * len(names),
                "test": [60] * len(names),
            },
            "minority": minority,
            "skipped": [{"path": "photos/<i>broken</i>.jpg", "reason": "truncated"}],
        },
        "imbalance": {"profile": "step", "ratio": 20.0},
        "manifest_hash": f"{draw}c" * 32,
        "draw": draw,
        "seed": 7 + draw,
        "method": method,
        "method_title": METHODS[method],
        "method_options": {"nu_max": 20} if method == "ados" else {},
        "network": {"name": "lenet", "num_classes": len(names), "embedding_dim": 120, "parameters": 52186}
        | {"in_channels": 1, "image_size": [28, 28], "mean": [0.5], "std": [0.25]},
        "adjust": None,
        "training": {"epochs": 5, "batch_size": 64, "lr": 0.001},
        "config_hash": "ef" * 32,
        "versions": {"python": "3.12.3", "torch": "2.9.0"},
        "hardware": {"cpu": "a processor", "cores": 2, "threads": 1, "device": "cpu"},
        "timings": {"representation": 8.25, "oversample": 0.5, "head": 1.5, "evaluate": 0.7, "total": 71.0},
    }
    history = [
        {
            "stage": stage,
            "epoch": epoch,
            "loss": 2.0 * 0.6**epoch + 0.1,
            "images_per_second": 9000,
            "seconds": 2.0,
        }
        | {
            "validation_loss": None,
            "validation_accuracy": 0.9 - 0.5**epoch,
            "validation_gmean": 0.8 - 0.6**epoch,
        }
        for stage, epochs in (("representation", 5), ("head", 3))
        for epoch in range(1, epochs + 1)
    ]
    labels = np.repeat(np.arange(len(names)), 40)
    kinds = ["synthetic" if label in minority and i % 2 else "original" for i, label in enumerate(labels)]
    centres = rng.normal(scale=4, size=(len(names), 2))
    x, y = (centres[labels] + rng.normal(size=(len(labels), 2))).T
    mistakes = [
        {
            "path": BAD_FILE if i == 0 else f"test/<u>{i}</u>.png",
            "true": int(true[k]),
            "predicted": int(predicted[k]),
            "probability": float(probabilities[k].max()),
            "image": "https://example.org/spy.png" if i == 1 else picture(rng),
        }
        for i, k in enumerate(np.flatnonzero(predicted != true)[:12])
    ]
    for name, value in {
        "run.json": config,
        "metrics.json": {"test": scores, "validation": validation},
        "history.json": history,
        "embedding.json": {
            "projection": "PCA",
            "x": x.tolist(),
            "y": y.tolist(),
            "label": labels.tolist(),
            "kind": kinds,
        },
        "mistakes.json": mistakes,
    }.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return scores


GAINS = {
    "ados": {"mean": 0.31, "low": 0.2, "high": 0.42, "n": 2},
    "mixup": {"mean": -0.11, "low": -0.15, "high": -0.07, "n": 2},
}
NOTES = {"mixup": "worse than the baseline by 0.110 G-mean (95 %: 0.070 to 0.150): do not use it here"}


def write_study(folder: Path, draws: int = 2, names: list[str] = CLASSES) -> Path:
    """Write a study folder of three methods and return it."""
    scores = {
        (method, draw): write_run(folder / "runs" / f"{method}-{draw}", method, draw, names)
        for method in METHODS
        for draw in range(draws)
    }
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["dataset", "imbalance", "imbalance_ratio", "draw", "seed", "method", *LAST_COLUMNS])
        for (method, draw), result in scores.items():
            setting = ["moles <1>", "step", 20.0, draw, 7 + draw, method]
            for group in ("all", "majority", "minority"):
                for metric in METRICS:
                    writer.writerow([*setting, group, metric, result[group][metric]])
            for record in result["per_class"]:
                for metric in ("precision", "recall", "specificity", "f1", "auc"):
                    writer.writerow([*setting, record["name"], metric, record[metric]])
    records = []
    for method, title in METHODS.items():
        summary: dict[str, Any] = {}
        for group in ("all", "majority", "minority"):
            summary[group] = {}
            for metric in METRICS:
                values = [scores[method, draw][group][metric] for draw in range(draws)]
                mean, half = float(np.mean(values)), float(np.ptp(values))
                summary[group][metric] = {
                    "mean": mean,
                    "low": max(0.0, mean - half),
                    "high": min(1.0, mean + half),
                    "n": draws,
                }
        records.append(
            {"method": method, "title": title, "n": draws, "best": method == "ados", "note": ""}
            | {"beats_baseline": {"bl": None, "ados": True, "mixup": False}[method], "scores": summary}
            | ({"gain": GAINS[method], "note": NOTES.get(method, "")} if method != "bl" else {})
            | {"validation": {"gmean": {"mean": SKILL[method] / 3, "low": 0.0, "high": 1.0, "n": draws}}}
        )
    study = {
        "format": 1,
        "dataset": "moles <1>",
        "imbalance": {"profile": "step", "ratio": 20.0},
        "draws": draws,
        "metric": "gmean",
        "methods": records,
        "tests": [
            {
                "a": "ados",
                "b": "bl",
                "metric": "gmean",
                "classes": "all",
                "difference": 0.31,
                "p_value": 0.004,
            }
            | {"p_adjusted": 0.008},
            {
                "a": "mixup",
                "b": "bl",
                "metric": "gmean",
                "classes": "all",
                "difference": -0.11,
                "p_value": 0.2,
            }
            | {"p_adjusted": 0.2},
        ],
        "winner": "ados",
        "failed": [{"method": "mixup", "draw": 9, "error": "the loss became NaN at step 3 of <epoch> 1"}],
        "command": "counterpoise compare photos/<moles>.zip --methods bl,ados,mixup --draws 2",
        "wall_seconds": 312.0,
    }
    (folder / "summary.json").write_text(json.dumps(study), encoding="utf-8")
    return folder
