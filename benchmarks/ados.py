"""ADOS relative to imbalanced-learn's SMOTE: time, memory, growth with the samples, and the literal algorithm.

Run with ``python benchmarks/ados.py --data-dir DIR`` (torchvision's root, for Fashion-MNIST) or name the cases to run.
Every line is one measurement. Both oversample the same classes of the same data to the same counts, in this process and
alternating, so that other load affects both; the ratio is that of the medians. On a busy machine the ratio favors ADOS,
because the threads of SMOTE's neighbor search wait actively.

``gaussian-large`` has no bar. There n x n distances exceed the memory allowed, so every synthetic sample is compared
with all seeds by a product: 80,000 x 20,000 x 512 = 819 thousand million multiplications, four times those of SMOTE's one
neighbor search, which is 20,000 x 20,000 x 512 = 205 thousand million.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMITS = {"rho-100": 0.5, "rho-10": 1.0, "1500-each": 1.5, "gaussian": 1.5, "gaussian-large": None}
MINORITY = (1, 3, 6, 8)


def embeddings(data_dir: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of Fashion-MNIST by a lenet trained for two epochs, float32 (60000, 120), and the labels."""
    file = cache / "fashion-mnist-lenet.npz"
    if not file.exists():
        train_and_embed(data_dir / "FashionMNIST" / "raw", file)
    with np.load(file) as saved:
        return saved["points"], saved["labels"]


def train_and_embed(raw: Path, file: Path) -> None:
    import torch
    from torch import nn

    pixels = np.fromfile(raw / "train-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28)
    labels = np.fromfile(raw / "train-labels-idx1-ubyte", np.uint8)[8:].astype(np.int64)
    torch.manual_seed(0)
    embed = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.BatchNorm1d(120), nn.ReLU()),
    )
    network = nn.Sequential(embed, nn.Linear(120, 10))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    images, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    for _ in range(2):
        for batch in torch.randperm(len(images)).split(128):
            loss = nn.functional.cross_entropy(network(images[batch].float() / 255), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        points = torch.cat([embed(part.float() / 255) for part in images.split(1000)])
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, points=points.numpy(), labels=labels)


def thinned(points: np.ndarray, labels: np.ndarray, n_minority: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kept = []
    for c in range(10):
        rows = np.flatnonzero(labels == c)
        kept.append(rng.permutation(rows)[:n_minority] if c in MINORITY else rows)
    chosen = np.sort(np.concatenate(kept))
    return points[chosen], labels[chosen]


def gaussian(n_minority: int, n_majority: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((n_majority + n_minority, d), dtype=np.float32)
    points[n_majority:] += 1
    return points, np.repeat([0, 1], [n_majority, n_minority])


def case(name: str, data_dir: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    sizes = {"rho-100": 60, "rho-10": 600, "1500-each": 1500}
    if name in sizes:
        return thinned(*embeddings(data_dir, cache), sizes[name])
    return gaussian(5_000, 25_000, 512) if name == "gaussian" else gaussian(20_000, 100_000, 512)


def seconds(work: object) -> float:
    begin = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - begin


def against_smote(name: str, X: np.ndarray, y: np.ndarray, repeats: int) -> bool:
    from imblearn.over_sampling import SMOTE

    from counterpoise.balance.features import ADOS

    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(seconds(lambda: SMOTE(random_state=0).fit_resample(X, y)))
        ours.append(seconds(lambda: ADOS(random_state=0).fit_resample(X, y)))
    ratio = float(np.median(ours) / np.median(theirs))
    each = np.sort(np.divide(ours, theirs))
    limit = LIMITS[name]
    verdict = "no bar" if limit is None else f"at most {limit}: {'met' if ratio <= limit else 'MISSED'}"
    print(
        f"{name}: ADOS {np.median(ours) * 1e3:.1f} ms, SMOTE {np.median(theirs) * 1e3:.1f} ms, ratio {ratio:.2f} "
        f"({verdict}; single ratios {each[0]:.2f} to {each[-1]:.2f}, load {os.getloadavg()[0]:.1f} "
        f"on {os.cpu_count()} processors)",
        flush=True,
    )
    return limit is None or ratio <= limit


def compile_time() -> None:
    """Print the time of the first call in a fresh process, with an empty and a filled cache of compiled code."""
    code = (
        "import time, numpy as np; from counterpoise.balance.features import ADOS\n"
        "X = np.random.default_rng(0).random((60, 8), dtype=np.float32); y = np.repeat([0, 1], [40, 20])\n"
        "t = time.perf_counter(); ADOS(random_state=0).fit_resample(X, y); print(f'{time.perf_counter() - t:.2f}')"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        for state in ("compiling", "compiled code on disk"):
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True
            )
            print(
                f"first call in a process, {state}: {done.stdout.strip() or done.stderr[-300:]} s", flush=True
            )


def peak_memory(name: str, data_dir: Path, cache: Path) -> None:
    """Print the peak resident memory above that before the call, in a separate process."""
    X, y = case(name, data_dir, cache)
    from counterpoise.balance.features import ADOS

    small = np.random.default_rng(0).random((60, X.shape[1]), dtype=np.float32)
    ADOS(random_state=0).fit_resample(small, np.repeat([0, 1], [40, 20]))  # load the compiled code
    status = Path("/proc/self/clear_refs")
    if status.exists():
        status.write_text("5")  # reset the peak
    before = _resident("VmRSS")
    out, _ = ADOS(random_state=0).fit_resample(X, y)
    extra, limit = _resident("VmHWM") - before, 1.5 * out.nbytes / 1e6 + 200
    print(
        f"{name}: peak extra memory {extra:.0f} MB, output {out.nbytes / 1e6:.0f} MB, allowed {limit:.0f} MB: "
        f"{'met' if extra <= limit else 'MISSED'}",
        flush=True,
    )


def _resident(key: str) -> float:
    file = Path("/proc/self/status")
    if not file.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    line = next(line for line in file.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1e3


def growth(name: str, X: np.ndarray, y: np.ndarray) -> None:
    """Time over the number of synthetic samples, and the fit of a straight line."""
    from counterpoise.balance.features import ADOS

    c, n = 1, int((y == 1).sum())
    new = np.array([1, 2, 4, 8, 16]) * {60: 60 * n, 5000: n // 4}.get(n, n)
    took = []
    for m in new:
        sampler = ADOS(random_state=0, sampling_strategy={c: n + int(m)})
        took.append(min(seconds(lambda s=sampler: s.fit_resample(X, y)) for _ in range(3)))
    slope, start = np.polyfit(new, took, 1)
    residual = np.array(took) - (slope * new + start)
    fit = 1 - residual @ residual / np.sum((took - np.mean(took)) ** 2)
    power = np.polyfit(np.log(new[1:]), np.log(np.maximum(np.array(took[1:]) - max(start, 0), 1e-6)), 1)[0]
    print(
        f"{name}: {n} points and {', '.join(map(str, new))}: "
        f"{', '.join(f'{t * 1e3:.0f}' for t in took)} ms; {slope * 1e6:.2f} us per synthetic sample, R^2 of the line "
        f"{fit:.4f}, exponent above the fixed part {power:.2f}",
        flush=True,
    )


def literal_class(
    points: np.ndarray, n_gen: int, k_max: int, rng: np.random.Generator, *, append: bool
) -> np.ndarray:
    """Algorithm 5 for one class: all distances recomputed for every sample, or a row and a column appended."""
    S = points.astype(np.float64)
    n = len(S)

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0))

    D = between(S, S)
    for i in range(n_gen):
        if not append:
            D = between(S, S)
        np.fill_diagonal(D, -1)
        x = i % n
        positive = D[D > 0]
        d_min, d_max = positive.min(), positive.max()
        order = np.argsort(np.where(np.arange(len(S)) == x, np.inf, D[x]), kind="stable")
        d_x = D[x, order[0]]
        k = k_max if d_x <= d_min else 2 if d_x >= d_max else math.ceil(
            k_max - (k_max - 2) * (d_x - d_min) / (d_max - d_min)
        )  # fmt: skip
        near = order[: min(k, len(S) - 1)]
        w = np.exp(-D[x, near] / D[x, near[-1]])
        delta = rng.random()
        new = delta * S[x] + (1 - delta) * (w / w.sum()) @ S[near]
        if append:
            row = between(new[None], S)
            D = np.vstack([np.hstack([D, row.T]), np.hstack([row, [[-1.0]]])])
        S = np.vstack([S, new])
    return S[n:]


def thesis_way(X: np.ndarray, y: np.ndarray, n_gen: int) -> None:
    """Print times of the literal loop, and of one that appends a row and a column, for one class."""
    from counterpoise.balance.features import ADOS

    points = X[y == 1]
    sampler = ADOS(random_state=0, sampling_strategy={1: len(points) + n_gen})
    ours = min(seconds(lambda: sampler.fit_resample(X, y)) for _ in range(3))
    for title, append in (("literal loop", False), ("row and column appended", True)):
        took = seconds(lambda a=append: literal_class(points, n_gen, 10, np.random.default_rng(0), append=a))
        print(
            f"{len(points)} -> {len(points) + n_gen}, one class: {title} {took:.2f} s, ADOS {ours * 1e3:.1f} ms, "
            f"{took / ours:.0f} times as fast",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(LIMITS)}; default: all but gaussian-large")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("COUNTERPOISE_DATA", "data")))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "counterpoise-benchmarks")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--memory-of", choices=LIMITS, help="only measure one case's peak memory, in this process"
    )
    parser.add_argument("--literal", type=int, default=940, help="synthetic samples of the literal algorithm")
    parser.add_argument(
        "--only-times", action="store_true", help="no compile time, memory, growth or literal algorithm"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(LIMITS):
        parser.error(f"unknown cases {sorted(unknown)}; choose from {', '.join(LIMITS)}")
    if arguments.memory_of:
        peak_memory(arguments.memory_of, arguments.data_dir, arguments.cache)
        return 0
    if not arguments.only_times:
        compile_time()
    met = True
    for name in arguments.cases or [name for name in LIMITS if name != "gaussian-large"]:
        X, y = case(name, arguments.data_dir, arguments.cache)
        from counterpoise.balance.features import ADOS

        ADOS(random_state=0).fit_resample(X, y)  # compile, or load the compiled code
        met &= against_smote(name, X, y, arguments.repeats if name != "gaussian-large" else 1)
        if arguments.only_times:
            continue
        own = [sys.executable, __file__, "--memory-of", name, "--data-dir", str(arguments.data_dir)]
        subprocess.run([*own, "--cache", str(arguments.cache)], check=True)
        if name != "gaussian-large":
            growth(name, X, y)
        if name == "rho-100":
            thesis_way(X, y, arguments.literal)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
