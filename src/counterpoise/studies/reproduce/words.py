"""What a table's page says in words, made of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from counterpoise.evaluation import score_title
from counterpoise.studies.reproduce.findings import SCORE_NAMES

Summary = Mapping[str, Any]

VERDICTS = ("confirmed", "refuted", "not decided", "not run")
#: What the findings of a kind claim together.
KINDS = {
    "decline": "Every method declines as the imbalance ratio grows",
    "resilience": "ADOS declines less than the other methods",
    "order": "",  # says itself what it holds against what
    "recipe-published": "This project's recipe is better than the best published number",
    "recipe-measured": "This project's recipe is better than the best other method, as measured here",
}


class Judged(NamedTuple):
    """A finding as it stands in the table of claims."""

    verdict: str
    words: str
    difference: str
    than: str


class Claim(NamedTuple):
    """A row of the table of claims: one claim, by each score."""

    claim: str
    where: str
    found: list[Judged | None]


def verdict_words(finding: Mapping[str, Any]) -> str:
    """Return what became of a claim.

    Examples
    --------
    >>> verdict_words({"verdict": "not decided", "n": 5}), verdict_words({"verdict": "refuted", "n": 5})
    ('not decided by 5 draws', 'refuted')
    """
    return finding["verdict"] + (f" by {draws(finding['n'])}" if finding["verdict"] == "not decided" else "")


def draws(count: int) -> str:
    """Return a number of draws in words."""
    return "1 draw" if count == 1 else f"{count} draws"


def signed(finding: Mapping[str, Any]) -> str:
    """Return a finding's difference with half its interval and its draws.

    Examples
    --------
    >>> signed({"difference": 0.02, "low": 0.01, "high": 0.03, "n": 5})
    '+0.020 ± 0.010 (5 draws)'
    """
    if finding["difference"] is None:
        return ""
    return f"{_difference(finding)} ({draws(finding['n'])})"


def _difference(finding: Mapping[str, Any]) -> str:
    half = "" if finding["low"] is None else f" ± {(finding['high'] - finding['low']) / 2:.3f}"
    return f"{with_sign(finding['difference'])}{half}"


def with_sign(value: float) -> str:
    """Return a difference with its sign.

    Examples
    --------
    >>> with_sign(0.02), with_sign(-0.0001)
    ('+0.020', '+0.000')
    """
    return f"{round(value, 3) + 0.0:+.3f}"


def claims(summary: Summary, *, main: bool) -> tuple[list[str], list[Claim]]:
    """Return the scores, and a row for each claim, of the whole table or of single lines."""
    chosen = [f for f in summary["findings"] if f["main"] == main]
    scores = list(dict.fromkeys(f["score"] for f in chosen))
    rows: dict[tuple[str, str], dict[str, Judged]] = {}
    for f in chosen:
        row = rows.setdefault((f["claim"], f["where"]), {})
        row[f["score"]] = _judged(f, summary["draws"])
    return scores, [Claim(*key, [row.get(score) for score in scores]) for key, row in rows.items()]


def _judged(finding: Mapping[str, Any], planned: int) -> Judged:
    if finding["difference"] is None:
        return Judged(finding["verdict"], finding["verdict"], "", "")
    # The words of an open claim name its draws; else they are all, if nothing is said.
    whole = finding["verdict"] == "not decided" or finding["n"] == planned
    difference = _difference(finding) if whole else signed(finding)
    return Judged(finding["verdict"], verdict_words(finding), difference, finding["than"])


def verdicts(summary: Summary) -> list[str]:
    """Return what became of each kind of claim, a sentence each.

    Examples
    --------
    >>> finding = {"kind": "resilience", "main": True, "verdict": "confirmed"}
    >>> verdicts({"findings": [finding, finding | {"verdict": "not decided"}]})
    ['ADOS declines less than the other methods: of 2 comparisons 1 confirmed, 1 not decided.']
    """
    sentences = []
    for kind, words in KINDS.items():
        chosen = [f for f in summary["findings"] if f["kind"] == kind and f["main"]]
        found = [f["verdict"] for f in chosen]
        words = words or ", ".join(dict.fromkeys(f["claim"] for f in chosen))
        counts = [f"{found.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in found]
        if len(counts) == 1:
            all_of = f"all {len(found)} comparisons" if len(found) > 1 else "the one comparison"
            sentences.append(
                f"{words}: {found[0]} in {all_of}." if found[0] != "not run" else f"{words}: not run."
            )
        elif counts:
            sentences.append(f"{words}: of {len(found)} comparisons {', '.join(counts)}.")
    return sentences


def closeness(summary: Summary) -> list[str]:
    """Say how far our numbers are from the published ones, and whether the same methods are best."""
    whole = summary["agreement"][0]
    if not whole["compared"]:
        return ["No published number has one of ours beside it yet."]
    published = sum(cell["published"] is not None for cell in summary["cells"])
    sentences = [
        f"Of {published} published numbers {whole['compared']} have one of ours beside them. Ours are "
        f"{abs(whole['difference']):.3f} {'above' if whole['difference'] >= 0 else 'below'} the published ones on "
        f"average, and {whole['spread']:.3f} away from them, above or below. These runs do not tell why; what the "
        "paper leaves open stands below."
    ]
    if whole["judged"]:
        sentences.append(
            f"A paper has one draw: {whole['inside']} of {whole['judged']} published numbers are in the range in which "
            f"one further draw of ours would fall (95 %), {whole['above']} above it and {whole['below']} below."
        )
    same: dict[str, list[bool]] = {}
    for best in summary["best"]:
        if best["same"] is not None:
            same.setdefault(score_title(best["metric"], best["classes"]), []).append(best["same"])
    if same:
        by_score = "; ".join(f"{name} {sum(found)} of {len(found)}" for name, found in same.items())
        sentences.append(
            f"In {sum(map(sum, same.values()))} of {sum(map(len, same.values()))} rows the best published method is "
            f"the best here, too, among the methods that have both numbers ({by_score})."
        )
    return sentences


def missing(summary: Summary) -> list[str]:
    """Say which runs are not done, line by line."""
    finished: dict[tuple[str, str], int] = {}
    for cell in summary["cells"]:
        key = cell["setting"], cell["method"]
        finished[key] = max(finished.get(key, 0), cell["n"])
    sentences = []
    for line in summary["lines"]:
        counts = {method: finished.get((line["name"], method), 0) for method in line["methods"]}
        if not any(counts.values()):
            sentences.append(f"{line['title']}: not run.")
        elif min(counts.values()) < summary["draws"]:
            few = [
                f"{name} {n} of {draws(summary['draws'])}"
                for name, n in counts.items()
                if n < summary["draws"]
            ]
            sentences.append(f"{line['title']}: {', '.join(few)}.")
    return sentences


def contradictions(summary: Summary) -> list[str]:
    """Say which published number contradicts which others."""
    titles = {line["name"]: line["title"] for line in summary["lines"]}
    return [
        f"{titles[c['setting']]}, {c['method']}, "
        f"{SCORE_NAMES.get((c['classes'], c['metric'])) or score_title(c['metric'], c['classes'])}: "
        f"{c['value']:.3f} is published, but {c['expected']:.3f} {c['rule']}."
        for c in summary["contradictions"]
    ]


def facts(summary: Summary) -> list[tuple[str, str]]:
    """Return how the table was made, name and value."""
    runs = summary["runs"]
    found = [
        (
            "runs",
            f"{runs['done']} of {runs['planned']} done"
            + (f", {runs['earlier']} of them taken over from earlier results" if runs["earlier"] else "")
            + f"; {runs['numbers']} numbers of the table",
        ),
        (
            "networks",
            f"{runs['trainings']} for {runs['planned']} runs, a factor of {runs['factor']:.2f}"
            + (": methods that start from the same network share it" if runs["factor"] > 1 else ""),
        ),
        ("time of all runs", f"{runs['seconds'] / 60:.0f} minutes, added up"),
    ]
    if runs["at_once"]:
        found.append(
            (
                "wall time",
                f"{runs['elapsed'] / 60:.0f} minutes in which runs were under way, {runs['at_once']:.1f} at a time",
            )
        )
    for name in ("versions", "hardware"):
        if summary[name]:
            found.append((name, ", ".join(f"{key}: {value}" for key, value in summary[name].items())))
    return found
