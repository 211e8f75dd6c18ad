"""Reading what a run said of the test images."""

from __future__ import annotations

import numpy as np

from counterpoise.exceptions import RunFolderError
from counterpoise.runs.folder import RunFolder
from counterpoise.runs.records import RunPredictions


def read_predictions(folder: RunFolder) -> RunPredictions:
    """Read ``predictions.csv`` of a finished run.

    Raises
    ------
    RunFolderError
        If it is missing or damaged.
    """
    import pandas as pd

    path = folder.path / "predictions.csv"
    classes = tuple(folder.record["dataset"]["classes"])
    try:
        # Class names are text, also where they read "nan" or "1"; the header may hold two alike.
        table = pd.read_csv(path, header=None, skiprows=1, dtype=str, na_filter=False)
        index = {name: number for number, name in enumerate(classes)}
        true, predicted = (np.array([index[name] for name in table[c]], dtype=np.int64) for c in (1, 2))
        probabilities = table.iloc[:, 3:].to_numpy().astype(np.float64)
        if probabilities.shape[1] != len(classes):
            raise ValueError(f"{probabilities.shape[1]} columns of probabilities for {len(classes)} classes")
    except (OSError, KeyError, ValueError) as error:
        raise RunFolderError(f"cannot read {path}: {error}; run it again into another `out`") from error
    return RunPredictions(classes, tuple(table[0]), true, predicted, probabilities)
