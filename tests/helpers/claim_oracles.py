"""Claims on the pages, computed again from the published results by code of its own.

The pages are read as a reader reads them. The numbers come from ``results.csv`` and ``runs.jsonl`` with pandas, the
published ones from ``tables.csv``; nothing of the code that writes the pages is used.
"""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
TABLES = sorted(
    path.parent.name
    for path in (ROOT / "results").glob("*/page.md")
    if "published and measured again" in path.read_text("utf-8")
)
RECIPE = "counterpoise"
SCORES = {
    "recall of the rare classes": ("minority", "recall"),
    "ACSA (mean recall)": ("all", "recall"),
    "F1": ("all", "f1"),
    "G-mean": ("all", "gmean"),
}
POSTER = [
    ("aos over ros (equal steps)", "aos", "ros"),
    ("ros over bl (equal epochs)", "ros", "bl"),
    ("ros over bl-equal-steps (equal steps)", "ros", "bl-equal-steps"),
    ("aos over bl (equal epochs)", "aos", "bl"),
    ("aos over bl-equal-steps (equal steps)", "aos", "bl-equal-steps"),
    ("bl over smote-pixels (equal epochs)", "bl", "smote-pixels"),
    ("bl-equal-steps over smote-pixels (equal steps)", "bl-equal-steps", "smote-pixels"),
    ("ros over smote-pixels (equal steps)", "ros", "smote-pixels"),
]
GROWTH = "gain of aos over ros grows with μ (equal steps)"
VERDICTS = ("confirmed", "refuted", "not decided", "not meaningful", "not run")


class Judged(NamedTuple):
    """A verdict, and the difference it rests on with half its 95 % interval, None where there is none."""

    verdict: str
    mean: float | None = None
    half: float | None = None

    def agrees(self, other: Judged) -> bool:
        """Whether both say the same, to three decimals."""
        pairs = ((self.mean, other.mean), (self.half, other.half))
        same = (a is b or (a is not None and b is not None and abs(a - b) < 6e-4) for a, b in pairs)
        return self.verdict == other.verdict and all(same)


def judged(differences: pd.Series, *, meaningful: bool = True) -> Judged:
    values = differences.dropna().to_numpy()
    if not len(values):
        return Judged("not run")
    mean = float(values.mean())
    half = None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    verdict = "not decided"
    if half is not None and (mean - half > 0 or mean + half < 0):
        verdict = "confirmed" if mean > 0 else "refuted"
    return Judged(verdict if meaningful else "not meaningful", mean, half)


class Results:
    """Results of a table: `lines` (name -> title), and its scores."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        frame = pd.read_csv(
            folder / "results.csv", dtype={"classes": str}, keep_default_na=False, na_values=[""]
        )
        self.frame = frame.assign(method=frame.method.str.partition(":")[0]).dropna(subset=["value"])
        self.summary = json.loads((folder / "summary.json").read_text("utf-8"))
        self.lines = {line["name"]: line["title"] for line in self.summary["lines"]}
        assert set(self.frame.setting) <= set(self.lines), "a line that was run has no title"
        columns = ["setting", "method", "classes", "metric"]
        self.values = {key: own.set_index("draw").value for key, own in self.frame.groupby(columns)}
        tables = pd.read_csv(
            ROOT / "src/counterpoise/studies/published/tables.csv",
            names=["table", "setting", "method", "classes", "metric", "value"],
            dtype={"classes": str},
        )
        own = tables[tables.table == self.name]
        self.published = own.astype({"value": float}).set_index(columns).value
        self.scored = self.frame[["setting", "method", "draw"]].drop_duplicates()
        self.methods = list(dict.fromkeys(self.frame.method))
        self.paper = self.name.partition("-")[0]
        self.scores = {k: v for k, v in SCORES.items() if self.paper == "thesis" or k == "F1"}

    def of(self, setting: str, method: str, score: tuple[str, str]) -> pd.Series:
        return self.values.get((setting, method, *score), pd.Series(dtype=float))

    def gap(self, setting: str, better: str, worse: str, score: tuple[str, str]) -> pd.Series:
        return (self.of(setting, better, score) - self.of(setting, worse, score)).dropna()


Claims = dict[tuple[str, str, str], Judged]  # claim, where (its first words), score


def mean_of(lines: dict[str, pd.Series], unit: str = "lines") -> tuple[str, pd.Series]:
    """The mean over the lines that were run, in the repeats that all have, and the words for them."""
    run = {title: line for title, line in lines.items() if len(line)}
    if not run:
        return f"{len(lines)} {unit}", pd.Series(dtype=float)
    frame = pd.DataFrame(run)
    where = f"mean of {len(run)} of {len(lines)} {unit}"
    if len(frame.dropna()) < len(frame):
        where += f", in {len(frame.dropna())} of {len(frame)} repeats"
    if len(run) < len(lines):
        where += f"; not run: {'; '.join(title for title in lines if title not in run)}"
    return where, frame.dropna().mean(axis=1)


def averaged(claim: str, score: str, lines: dict[str, pd.Series], unit: str) -> tuple[Claims, Claims]:
    main: Claims = {}
    single = {(claim, title, score): judged(line) for title, line in lines.items()}
    if len(lines) == 1:
        return single, {}
    where, mean = mean_of(lines, unit)
    main[claim, where, score] = judged(mean)
    return main, single if any(len(line) for line in lines.values()) else {}


def order_claims(r: Results) -> dict[str, tuple[Claims, Claims]]:
    """Sentence -> claims of the whole table and claims of single lines."""
    pairs = POSTER if r.paper == "poster" else []
    if "ados" in r.methods:
        others = [m for m in r.methods if m not in ("ados", RECIPE)]
        pairs = [(f"ados over {other} (equal epochs)", "ados", other) for other in others]
    found = {}
    for claim, better, worse in pairs:
        main, single = {}, {}
        for name, score in r.scores.items():
            lines = {title: r.gap(line, better, worse, score) for line, title in r.lines.items()}
            one, other = averaged(claim, name, lines, "lines")
            main |= one
            single |= other
        title = f"SMOTE in pixels degrades: {claim}" if worse == "smote-pixels" else claim
        found[title] = (main, single)
    return found


def growth_claims(r: Results) -> dict[str, tuple[Claims, Claims]]:
    if r.paper != "poster":
        return {}
    groups: dict[str, dict[float, pd.Series]] = {}
    for line in r.lines:
        if match := re.fullmatch(r"(.+)-mu([\d.]+)-ratio([\d.]+)", line):
            gain = r.gap(line, "aos", "ros", ("all", "f1"))
            groups.setdefault(f"{match[1]}, ρ {match[3]}", {})[float(match[2])] = gain
    lines = {}
    for title, gains in groups.items():
        run = {mu: gain for mu, gain in gains.items() if len(gain)}
        frame = pd.DataFrame(run).dropna()
        mus = np.array(list(run))
        centered = mus - mus.mean()
        slopes = (frame * centered).sum(axis=1) / (centered**2).sum()
        where = f"{title}, μ {mus.min():g} to {mus.max():g}, {len(run)} of {len(gains)} lines"
        lines[where] = slopes * np.ptp(mus)
    claims = averaged(GROWTH, "F1", lines, "datasets")
    return {f"The greater the imbalance, the more AOS helps: {GROWTH}": claims}


def decline_claims(r: Results) -> dict[str, tuple[Claims, Claims]]:
    if r.paper != "thesis":
        return {}
    ratios = {line: float(match[1]) for line in r.lines if (match := re.search(r"-ratio([\d.]+)$", line))}
    main, single, less = {}, {}, {}
    rare = (
        sorted(set(r.frame[r.frame.classes.str.fullmatch(r"\d")].classes)) if r.name == "thesis-1.1" else []
    )
    rare = [c for c in rare if c in "0258"]
    ends = {}
    for method in r.methods:
        own = sorted({line for line, m, *_ in r.values if m == method and line in ratios}, key=ratios.get)
        ends[method] = (own[0], own[-1])
        named = {(f"{method} declines", name): score for name, score in r.scores.items()}
        named |= {
            (f"{method} declines on class {c}", "recall of the rare classes"): (c, "recall") for c in rare
        }
        for (claim, name), score in named.items():
            for low, high in dict.fromkeys([ends[method], *pairwise(own)]):
                loss = (r.of(low, method, score) - r.of(high, method, score)).dropna()
                where = f"ρ {ratios[low]:g} to ρ {ratios[high]:g}"
                (main if (low, high) == ends[method] else single)[claim, where, name] = judged(loss)
    for method in r.methods:
        if method != "ados" and "ados" in ends and ends[method] == ends["ados"]:
            low, high = ends["ados"]
            for name, score in r.scores.items():
                gap = r.gap(low, method, "ados", score) - r.gap(high, method, "ados", score)
                where = f"ρ {ratios[low]:g} to ρ {ratios[high]:g}"
                less[f"ados declines less than {method}", where, name] = judged(gap)
    found = {"Every method declines from its smallest imbalance ratio to its largest": (main, single)}
    title = "ADOS declines less than each other method of the paper or of ours, the recipe aside"
    return found | ({title: (less, {})} if less else {})


def recipe_claims(r: Results) -> dict[str, tuple[Claims, Claims]]:
    if RECIPE not in r.methods:
        return {}
    published, measured = {}, {}
    for line, title in r.lines.items():
        best = {}
        for name, score in r.scores.items():
            known = {m: r.published.get((line, m, *score)) for m in r.published.index.unique("method")}
            known = {m: v for m, v in known.items() if v is not None and m != RECIPE}
            if known:
                best[name] = max(known.values())
        baseline = {name: r.of(line, "bl", score).mean() for name, score in r.scores.items()}
        easier = any(baseline[name] > value for name, value in best.items())
        for name, score in r.scores.items():
            own = r.of(line, RECIPE, score)
            if name in best:
                gap = judged(own - best[name], meaningful=not (easier and len(own)))
                published[f"{RECIPE} over best published", title, name] = gap
            means = {m: r.of(line, m, score).mean() for m in r.methods if m != RECIPE}
            top = max((m for m in means if means[m] == means[m]), key=means.get, default="")
            gap = judged(r.gap(line, RECIPE, top, score))
            measured[f"{RECIPE} over best other here", title, name] = gap
    return {
        "This project's recipe is better than the best published number": (published, {}),
        "This project's recipe is better than the best other method, as measured here": (measured, {}),
    }


def expected(r: Results) -> dict[str, tuple[Claims, Claims]]:
    return growth_claims(r) | decline_claims(r) | order_claims(r) | recipe_claims(r)


@cache
def results_of(name: str) -> tuple[Results, dict[str, tuple[Claims, Claims]]]:
    r = Results(ROOT / "results" / name)
    return r, expected(r)


# Reading a page.


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "| --- |" not in line
    ]


def read_claims(page: str, heading: str) -> Claims:
    if heading not in page:
        return {}
    head, *rows = rows_of(page.split(heading)[1].split("\n#")[0])
    found = {}
    for claim, where, *cells in rows:
        for score, cell in zip(head[2:], cells, strict=True):
            if cell.strip():
                verdict, *rest = cell.split(" / ")
                number = re.match(r"([+-][\d.]+)(?: ± ([\d.]+))?", rest[0]) if rest else None
                values = (
                    [None if v is None else float(v) for v in number.groups()] if number else [None, None]
                )
                found[claim, where, score] = Judged(re.sub(r" by [\d,]+ repeats?$", "", verdict), *values)
    return found


def counted(text: str) -> dict[str, int]:
    """Read ``of 3 comparisons 2 confirmed, 1 refuted; ...`` and its other forms."""
    if match := re.match(r"of (\d+) comparisons ((?:\d+ [a-z ]+(?:, )?)+)", text):
        found = {v: int(n) for n, v in re.findall(r"(\d+) ([a-z ]+)", match[2])}
        return found if sum(found.values()) == int(match[1]) else {"not the sum": int(match[1])}
    if match := re.match(rf"({'|'.join(VERDICTS)}) in all (\d+) comparisons", text):
        return {match[1]: int(match[2])}
    match = re.match("|".join(VERDICTS), text)
    return {match[0]: 1} if match else {}


def count_faults(sentence: str, title: str, main: Claims, single: Claims) -> list[str]:
    text = sentence.removeprefix(f"{title}: ")
    faults = []
    for words, claims in zip([*text.split("; line by line "), ""][:2], (main, single), strict=True):
        verdicts = [claim.verdict for claim in claims.values()]
        right = {v: verdicts.count(v) for v in VERDICTS if v in verdicts}
        found = counted(words)
        if right != found and not (set(right) == set(found) == {"not run"}):
            faults.append(f"{title}: {found} on the page, {right} in the results")
    return faults


def page_faults(page: str, name: str) -> list[str]:
    """What a page leaves out or has wrong, in words."""
    r, groups = results_of(name)
    faults = []
    bullets = [line.removeprefix("- ") for line in page.splitlines() if line.startswith("- ")]
    wholes: tuple[Claims, Claims] = ({}, {})
    for title, (main, single) in groups.items():
        own = [line for line in bullets if line.startswith(f"{title}: ")]
        faults += [f"no sentence on: {title}"] if not own else count_faults(own[0], title, main, single)
        wholes[0].update(main)
        wholes[1].update(single)
    for right, heading in zip(wholes, ("## Claims, decided", "### Line by line"), strict=True):
        shown = read_claims(page, heading)
        faults += [f"not on the page: {key}" for key in right.keys() - shown.keys()]
        faults += [f"not in the results: {key}" for key in shown.keys() - right.keys()]
        both = right.keys() & shown.keys()
        faults += [f"{key}: {shown[key]}, {right[key]}" for key in both if not shown[key].agrees(right[key])]
    text = "\n".join(bullets)
    faults += [f"not on the page: {word}" for word in closeness_words(name) if word not in text]
    return faults + run_faults(page, r) + easier_faults(bullets, r, wholes[0])


@cache
def closeness_words(name: str) -> list[str]:
    """Counts of published numbers, of ranges, of rows whose best method is the same, and of best methods, in words."""
    r = results_of(name)[0]
    pairs = {key: (value, r.values[key]) for key, value in r.published.items() if key in r.values}
    gaps = [own.mean() - value for value, own in pairs.values()]
    places = [0, 0, 0]
    for value, own in pairs.values():
        if len(own) > 1:
            half = stats.t.ppf(0.975, len(own) - 1) * own.std(ddof=1) * (1 + 1 / len(own)) ** 0.5
            places[1 + int(value > own.mean() + half) - int(value < own.mean() - half)] += 1
    words = [f"Of {len(r.published)} published numbers {len(pairs)} have one of ours beside them."]
    side = "above" if np.mean(gaps) >= 0 else "below"
    words += [f"Ours are {abs(np.mean(gaps)):.3f} {side} the published ones"]
    words += [f"{np.mean(np.abs(gaps)):.3f} away from them"]
    if sum(places):
        words += [f"{places[1]} of {sum(places)} are in the range"]
        words += [f"{places[2]} above it and {places[0]} below"]
    keys = list(dict.fromkeys((classes, metric) for _, _, classes, metric in r.published.index))
    same, firsts, rows = [], [], 0
    for line in r.lines:
        for key in keys:
            rows += 1
            ours = {m: r.values[line, m, *key].mean() for m in r.methods if (line, m, *key) in r.values}
            theirs = {m: r.published.get((line, m, *key)) for m in ours}
            both = {m: v for m, v in theirs.items() if v is not None}
            if len(both) > 1:
                top = max(both, key=both.get)
                tops = {m for m in both if both[m] == both[top]}
                mine = max(ours[m] for m in both)
                same.append(any(ours[m] == mine for m in tops))
            firsts += [m for m in ours if ours[m] == max(ours.values())]
    if same:
        words += [f"In {sum(same)} of {len(same)} rows the best published method"]
        if len(same) < rows:
            words += [f"{rows - len(same)} further row"]
    if len(r.methods) > 1:
        words += [f"{m} in {firsts.count(m)}" for m in set(firsts)]
    return words


@cache
def archived_count(folder: Path) -> int:
    """Number of runs in the archive of a table."""
    return len((folder / "runs.jsonl").read_text("utf-8").splitlines())


def run_faults(page: str, r: Results) -> list[str]:
    """Check that runs that are done are counted, and that those that are not are named."""
    archived = archived_count(r.folder)
    scored = r.scored
    done, planned = map(int, re.search(r"\| runs \| (\d+) of (\d+) done", page).groups())
    faults = [] if done == archived == len(scored) else [f"{done} runs on the page, {archived} archived"]
    summary, repeats = r.summary, scored.groupby(["setting", "method"]).size()
    for line in summary["lines"]:
        for method in line["methods"]:
            if repeats.get((line["name"], method), 0) < summary["draws"]:
                named = [w for w in page.splitlines() if w.startswith(f"- {line['title']}: ")]
                if not named or (method not in named[0] and "not run" not in named[0]):
                    faults.append(f"{line['title']}, {method}: missing runs are not named")
    expected = sum(len(line["methods"]) for line in summary["lines"]) * summary["draws"]
    return faults + ([] if planned == expected else [f"{planned} runs planned on the page, not {expected}"])


def easier_faults(bullets: list[str], r: Results, claims: Claims) -> list[str]:
    """Check that lines on which the recipe's claim means nothing are named, and why."""
    lines = dict.fromkeys(where for (_, where, _), j in claims.items() if j.verdict == "not meaningful")
    own = [
        line
        for line in bullets
        if line.startswith("To be above the best published number is not meaningful on ")
    ]
    if not lines:
        return ["a reason for lines that are meaningful"] if own else []
    if not own or not all(line in own[0] for line in lines):
        return [f"not named as not meaningful: {list(lines)}"]
    gaps = [
        r.values[key].mean() - value
        for key, value in r.published.items()
        if r.lines[key[0]] in lines and key in r.values
    ]
    words = f"{sum(g > 0 for g in gaps)} of {len(gaps)} numbers", f"by {np.mean(gaps):+.3f} on average"
    return [f"not on the page: {word}" for word in words if word not in own[0]]
