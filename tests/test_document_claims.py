"""What the documents say of published and measured results, computed again from the references and the results."""

from __future__ import annotations

import importlib.util
import re
import sys

import pandas as pd
import pytest
from claim_oracles import ROOT, TABLES, judged, results_of

from counterpoise.evaluation import mean_interval

REFERENCE = ROOT.parent / "shared" / "reference"
METHODS = (ROOT / "docs/methods.md").read_text("utf-8")
PRETRAINED = (ROOT / "docs/studies/pretrained.md").read_text("utf-8")
RECIPE = (ROOT / "docs/recipe.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def load_module(folder, name):
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator():
    """The module tools/make_results_page.py."""
    yield load_module("tools", "make_results_page")
    del sys.modules["make_results_page"]


@pytest.fixture(scope="module")
def reference():
    """The folder of the papers' tables, where it is at hand."""
    if not REFERENCE.is_dir():
        pytest.skip(f"needs the papers' tables in {REFERENCE}")
    return REFERENCE


def thesis_column(reference, classes, metric):
    """Lines down, methods across, of the thesis's Tables 7.1 to 7.4."""
    table = pd.read_csv(reference / "ados-thesis-tables.csv")
    own = table[(table.classes == classes) & (table.metric == metric)]
    return own.pivot_table(index=["table", "imbalance_ratio"], columns="method", values="value")


# Published results.


def ados_faults(text, reference):
    """What a text has wrong of the lines in which the thesis's ADOS finds most of the rare classes."""
    recall = thesis_column(reference, "minority", "recall")
    others = recall.drop(columns="ados").max(axis=1)
    best, ties = int((recall.ados >= others).sum()), int((recall.ados == others).sum())
    last = pd.read_csv(reference / "ados-thesis-table-7.5.csv").set_index("metric").loc["min_re"]
    right = f"the highest in {best} of the {len(recall)} lines of the thesis's Tables 7.1 to 7.4 (a tie with DOS in "
    right += {1: "one of them)"}[ties] + (" and in Table 7.5" if last.idxmax() == "ados" else "")
    assert recall.dos[recall.ados == others].tolist() == others[recall.ados == others].tolist()
    return [] if right in text else [right]


def test_the_record_of_ados_says_in_how_many_lines_it_is_the_best_of_the_thesis(reference):
    assert ados_faults(METHODS, reference) == []
    assert ados_faults(METHODS.replace("13 of the 16", "16 of the 16"), reference)
    assert ados_faults(
        METHODS.replace("highest in 13 of the 16 lines of the thesis", "highest of the thesis"), reference
    )


def order_faults(text, reference):
    gmean = thesis_column(reference, "all", "gmean")
    first = int((gmean.idxmax(axis=1) == "ados").sum())
    over = int((gmean["bl-cw"] > gmean["fs-smote"]).sum())
    right = f"has `ados` first by G-mean in all {first} lines of its Tables 7.1 to 7.4 as well, but `bl-cw` above "
    right += f"`fs-smote` in only {over} of them"
    return [] if first == len(gmean) and right in " ".join(text.split()) else [right]


def test_the_order_of_the_thesis_is_that_of_its_tables(reference):
    assert order_faults(PRETRAINED, reference) == []
    assert order_faults(PRETRAINED.replace("only 7 of them", "only 9 of them"), reference)


def test_the_numbers_of_the_package_are_those_of_the_papers(reference):
    names = ["table", "setting", "method", "classes", "metric", "value"]
    path = ROOT / "src/counterpoise/studies/published/tables.csv"
    packaged = pd.read_csv(path, names=names, dtype={"classes": str})
    thesis = pd.read_csv(reference / "ados-thesis-tables.csv", dtype={"table": str})
    right = {
        (
            f"thesis-{row.table}",
            f"{row.dataset}-ratio{row.imbalance_ratio}",
            row.method,
            row.classes,
            row.metric,
        ): row.value
        for row in thesis.itertuples()
    }
    for row in pd.read_csv(reference / "aos-tables.csv").itertuples():
        for method, column in (("bl", "base"), ("ros", "ros"), ("aos", "aos")):
            key = (f"poster-{row.table}", f"{row.dataset}-mu{row.mu:g}-ratio{row.rho}", method, "all", "f1")
            right[key] = getattr(row, column) / 100
    own = packaged[packaged.table.str.match(r"thesis-7\.[1-4]|poster")]
    found = {tuple(row[:5]): float(row[5]) for row in own.itertuples(index=False)}
    assert found == pytest.approx(right)


def test_the_published_numbers_of_the_benchmarks_are_those_of_the_posters_and_the_thesis(reference):
    poster = pd.read_csv(reference / "aos-tables.csv")
    module = load_module("benchmarks", "poster_pretrained")
    intel = poster[poster.dataset == "intel"]
    assert {f"{r.mu:g}": (r.base, r.ros, r.aos) for r in intel.itertuples()} == module.PUBLISHED
    recipe = load_module("benchmarks", "recipe")
    for name, setting in recipe.SETTINGS.items():
        data = setting.data.removesuffix(".zip")
        if setting.metric == "f1":
            rows = poster[
                (poster.dataset == data)
                & (poster.mu == float(setting.minority))
                & (poster.rho == setting.ratio)
            ]
            assert setting.published == pytest.approx(rows[["base", "ros", "aos"]].to_numpy().max() / 100), (
                name
            )
        elif setting.metric == "gmean":
            table = {"fashion-mnist": 7.2, "cifar10": 7.3}[data]
            assert (
                setting.published == thesis_column(reference, "all", "gmean").loc[table, setting.ratio].max()
            ), name


def test_the_numbers_of_the_slides_are_theirs(reference):
    accuracy = pd.read_csv(reference / "learned-perturbation-accuracy.csv")
    accuracy = accuracy[accuracy.evaluated_on == "test"].set_index("dataset")
    page = (ROOT / "docs/studies.md").read_text("utf-8")
    for title, name in (("CIFAR-10", "cifar10"), ("Intel", "intel"), ("STL-10", "stl10")):
        for before, after in re.findall(rf"{title} ([\d.]+) → ([\d.]+)", page):
            assert [float(before), float(after)] == accuracy.loc[
                name, ["classifier_accuracy", "combined_accuracy"]
            ].tolist()


#: Sentences that say how published results compare; each is computed in this file or in test_claims.py.
CHECKED = (
    r"recall on rare classes, the highest in \d+ of the",
    r"The thesis, with networks trained from scratch, has `ados` first",
    r"is the best of the oversamplers on CIFAR-10 and Intel",
    r"[Aa]gainst the best published number: (\d+ comparisons?, \d|none published)",
    r"\"Not meaningful\": the baseline alone is above the best published number",
    r"A comparison is one score of the paper on one line\.",
    r"Whether the gain grows with the share of rare classes is decided in each table",
    r"The poster conjectures so\.",
    r"The paper minimizes the two parts in turn, the first over the head and the second over the layers below\.",
)
PAPERS = r"\b(thesis|poster|slides|lecture|papers?|published)\b"
COMPARES = (
    r"\b(highest|lowest|best|better|worse|first by|reports?|above|below|outperform\w*|gains?|rises?|superior|"
    r"conjectures?|degrad\w+|\d\.\d\d+|\d\d\.\d)\b"
)


def unchecked(text):
    """Sentences on published results that no test computes."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    paragraphs = [p for p in text.split("\n\n") if not p.lstrip().startswith("|")]
    sentences = [
        s for p in paragraphs for s in re.split(r"(?<=[.!?])\s+(?=[A-Z`*\[\"-])", p.replace("\n", " "))
    ]
    own = [
        s for s in sentences if re.search(PAPERS, s, re.IGNORECASE) and re.search(COMPARES, s, re.IGNORECASE)
    ]
    return [s for s in own if not any(re.search(pattern, s) for pattern in CHECKED)]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/methods.md",
        "docs/recipe.md",
        "docs/recipe/bars.md",
        "docs/studies/pretrained.md",
        "docs/studies/practice.md",
        "results/README.md",
    ],
)
def test_no_document_compares_published_results_without_a_test(page):
    text = (ROOT / page).read_text("utf-8")
    assert unchecked(text) == []
    assert unchecked(f"{text}\n\nIn the thesis LMLE is better than all.\n")


# The documents on pretrained features: their sentences, from their tables.


def gmeans(name):
    """Method -> count -> G-mean, of a set of docs/studies/pretrained.md."""
    block = PRETRAINED.split(f"<!-- begin {name} -->")[1].split("G-mean minus")[0]
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    counts = [int(count) for count in rows[0][1:]]
    return pd.DataFrame(
        {row[0].strip("`"): [float(cell.split()[0]) for cell in row[1:]] for row in rows[2:]}, index=counts
    ).T


def excess(name):
    """Method -> count -> (mean, half) of the G-mean minus that of logit-adjusted."""
    block = PRETRAINED.split(f"<!-- begin {name} -->")[1].split("G-mean minus")[1].split("Macro F1")[0]
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    counts = [int(count) for count in rows[0][1:]]
    number = re.compile(r"([+-][\d.]+) ± ([\d.]+)")
    return {
        row[0].strip("`"): {
            c: tuple(map(float, number.search(x).groups())) for c, x in zip(counts, row[1:], strict=True)
        }
        for row in rows[2:]
    }


def test_the_sentences_on_pretrained_features_are_those_of_their_tables():
    cifar, intel, elpv = map(gmeans, ("cifar10", "intel", "elpv"))
    text = " ".join(PRETRAINED.split())
    few, weighing = [2, 5, 10, 20], ["bl-cw", "crt", "fs-smote"]
    assert (
        "within three points of G-mean of each other, except `bl` on CIFAR-10 with 50, which is six points"
        in text
    )
    for found in (cifar, intel):
        close = found.drop(index=["ncm", "lda"])[[50, 100]]
        close = close.drop(index="bl") if found is cifar else close
        assert (close.max() - close.min()).max() <= 0.03
    assert cifar.drop(index=["ncm", "lda"])[100].max() - cifar.loc["bl", 100] <= 0.03
    assert round(cifar.drop(index="bl")[50].max() - cifar.loc["bl", 50], 2) == 0.06
    assert (
        "`bl` with five images of each rare class has a G-mean of 0.02 on CIFAR-10, `logit-adjusted` one of 0.55"
        in text
    )
    assert (round(cifar.loc["bl", 5], 2), round(cifar.loc["logit-adjusted", 5], 2)) == (0.02, 0.55)
    assert "its G-mean is 0.54 on CIFAR-10 and 0.82 on Intel, within a point of `logit-adjusted`" in text
    assert (round(cifar.loc["ados", 5], 2), round(intel.loc["ados", 5], 2)) == (0.54, 0.82)
    for found in (cifar, intel):
        assert abs(found.loc["ados", 5] - found.loc["logit-adjusted", 5]) < 0.0105
        assert (found.loc["ados", few] > found.loc[weighing, few].max()).all()
        assert (found.loc["ados", [*few, 50]] > found.loc["fs-smote", [*few, 50]]).all()
    assert "on ELPV it is behind all of them below 100 images" in text
    assert (elpv.loc["ados", [*few, 50]] < elpv.loc[weighing, [*few, 50]].min()).all()
    assert elpv.loc["ados", 100] < elpv.loc["fs-smote", 100]
    assert "its G-mean is within 0.02 of that of `crt` everywhere" in text
    for found in (cifar, intel, elpv):
        assert (found.loc["fs-smote"] - found.loc["crt"]).abs().max() <= 0.02
        assert (found.loc[["lda", "ncm"]].max() < found.loc["logit-adjusted"]).all()


def test_what_is_said_of_vs_and_cosine_is_in_their_tables():
    text = " ".join(PRETRAINED.split())
    assert (
        "above it on CIFAR-10 with 2, 5 and 10 images, though each interval contains 0, and below with 20 and more"
        in text
    )
    assert "below by more than the interval with 5 images (on Intel also with 10 and 20)" in text
    own = {name: excess(name)["vs"] for name in ("cifar10", "intel", "elpv")}
    assert [c for c, (mean, half) in own["cifar10"].items() if 0 < mean <= half] == [2, 5, 10]
    assert [c for c, (mean, _) in own["cifar10"].items() if mean < 0] == [20, 50, 100]
    assert [c for c, (mean, half) in own["intel"].items() if mean < -half] == [5, 10, 20]
    assert [c for c, (mean, half) in own["elpv"].items() if mean < -half] == [5]
    assert not [name for name in own for mean, half in own[name].values() if mean > half]
    assert "`cosine` is level with it on ELPV and behind elsewhere up to 50 images" in text
    cosine = {name: excess(name)["cosine"] for name in own}
    assert all(mean < 0 for name in ("cifar10", "intel") for c, (mean, _) in cosine[name].items() if c <= 50)
    assert all(-half < mean for mean, half in cosine["elpv"].values())


def test_the_posters_rows_from_pretrained_features_are_those_of_the_results():
    results, _ = results_of("poster-1")
    pretrained = pd.read_csv(ROOT / "results/poster-1/pretrained.csv")
    own = pretrained[(pretrained["classes"] == "all") & (pretrained.metric == "f1")]
    section = PRETRAINED.split("## The poster's Intel rows")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| 0.")]
    assert len(rows) == len([line for line in results.lines if re.match(r"intel-mu", line)])
    for share, published, best, *cells in rows:
        line = f"intel-mu{share}-ratio20"
        numbers = [results.published[line, m, "all", "f1"] for m in ("bl", "ros", "aos")]
        assert published == ", ".join(f"{number:.3f}" for number in numbers)
        means = {m: results.of(line, m, ("all", "f1")) for m in results.methods}
        top = max((m for m in means if len(means[m])), key=lambda m: means[m].mean())
        assert best == f"`{top}` {interval(means[top])}"
        of_line = own[own.setting == line].groupby("method").value
        assert cells == [interval(of_line.get_group(m)) for m in ("bl", "ros", "logit-adjusted")]


def interval(values, *, sign=False):
    return half_interval(judged(values), sign=sign)


def half_interval(found, *, sign=False):
    text = f"{found.mean:{'+' if sign else ''}.3f}"
    return text if found.half is None else f"{text} ± {found.half:.3f}"


# The recipe.


def recipe_counts():
    """Group -> "published" or "measured" -> (counts of verdicts, mean difference), from the results."""
    tuned = {"mnist, μ 0.9, ρ 500", "fashion-mnist, ρ 100", "cifar10, ρ 100"}
    images = {"mnist", "fashion-mnist", "cifar10"}
    groups: dict[tuple[str, str], list] = {}
    for table in TABLES:
        for main, _ in results_of(table)[1].values():
            for (claim, where, _), found in main.items():
                if claim.startswith("counterpoise over") and found.verdict != "not run":
                    data = where.partition(",")[0]
                    group = data if data not in images else "line" if where in tuned else "images"
                    groups.setdefault((group, claim.split()[3]), []).append(found)
    return groups


TITLES = {
    "The lines it was tuned on": "line",
    "The same images, thinned otherwise": "images",
    "Intel's scenes, not used for tuning": "intel",
    "MNIST-back-rotation, not used for tuning": "mnist-rb",
}
WORDS = {
    "above": "confirmed",
    "below": "refuted",
    "not decided": "not decided",
    "not meaningful": "not meaningful",
}


def recipe_faults(text):
    """What a page has wrong or leaves out of the recipe's comparisons."""
    groups, faults = recipe_counts(), []
    assert {group for group, _ in groups} <= set(TITLES.values())
    for title, group in TITLES.items():
        if not any(own == group for own, _ in groups):
            continue
        row = next(
            (line for line in text.splitlines() if line.startswith((f"- {title}.", f"| {title} |"))), None
        )
        if row is None:
            faults.append(f"{title} is left out")
            continue
        counts = re.findall(
            r"(\d+) comparisons?, ((?:\d+ [a-z ]+(?:, )?)+)(?:; ([+-][\d.]+) on average)?", row
        )
        for kind, (total, verdicts, mean) in zip(("published", "other"), counts, strict=True):
            own = groups[group, kind]
            meaningful = [found.mean for found in own if found.verdict != "not meaningful"]
            found = {WORDS[word.strip()]: int(n) for n, word in re.findall(r"(\d+) ([a-z ]+)", verdicts)}
            right = pd.Series([f.verdict for f in own]).value_counts().to_dict()
            if found != right or int(total) != len(own):
                faults.append(f"{title}, {kind}: {found}, not {right}")
            if bool(mean) != bool(meaningful) or (
                mean and abs(float(mean) - sum(meaningful) / len(meaningful)) > 6e-4
            ):
                faults.append(f"{title}, {kind}: {mean} on average")
    return faults


@pytest.mark.parametrize("page", ["README.md", "docs/recipe.md", "results/README.md"])
def test_the_recipe_is_counted_on_every_line_on_which_it_was_run(page):
    text = (ROOT / page).read_text("utf-8")
    assert recipe_faults(text) == []
    assert "MNIST (μ 0.9, ρ 500), Fashion-MNIST (ρ 100), CIFAR-10 (ρ 100)" in " ".join(text.split())
    lines = [line for line in text.splitlines() if "Intel's scenes, not used for tuning" in line]
    assert lines
    assert recipe_faults(text.replace(lines[0], ""))
    assert recipe_faults(text.replace(lines[0], re.sub(r"(\d+) comparisons", "2 comparisons", lines[0])))


def test_every_line_of_the_recipe_is_on_its_page_with_its_numbers():
    page = (ROOT / "docs/recipe/bars.md").read_text("utf-8")
    expected = 0
    for table in TABLES:
        results, groups = results_of(table)
        claims = {key: found for main, _ in groups.values() for key, found in main.items()}
        for line, title in results.lines.items():
            for name, score in results.scores.items():
                own = results.of(line, "counterpoise", score)
                if not len(own):
                    continue
                expected += 1
                start = f"| {table} | {title} | {name} | {interval(results.of(line, 'bl', score))} | {interval(own)} | "
                (row,) = [r for r in page.splitlines() if r.startswith(start)]
                published, measured = row.removeprefix(start).removesuffix(" |").split(" | ")
                for claim, cell in (("best published", published), ("best other here", measured)):
                    found = claims.get((f"counterpoise over {claim}", title, name))
                    words = (
                        f"{found.verdict}: {half_interval(found, sign=True)} (" if found else "none published"
                    )
                    assert cell.startswith(words)
    assert page.count("\n| ") == expected + 2


def test_the_lines_on_which_the_recipe_was_tuned_are_those_of_its_benchmark(generator):
    recipe = load_module("benchmarks", "recipe")
    for name, line in zip(recipe.ABLATED, generator.TUNED, strict=True):
        setting = recipe.SETTINGS[name]
        assert line.startswith(setting.data.removesuffix(".zip"))
        assert line.endswith(f"ρ {setting.ratio}")
        assert "μ" not in line or f"μ {setting.minority}" in line


def test_the_pages_over_several_tables_are_what_the_results_give(generator):
    for path, text in generator.pages().items():
        assert path.read_text("utf-8") == text, "run: python tools/make_results_page.py"


def test_the_gain_of_aos_at_both_ratios_is_that_of_the_results():
    page = (ROOT / "results/README.md").read_text("utf-8")
    rows = {
        cells[0]: cells[2]
        for cells in (line.strip("| ").split(" | ") for line in page.splitlines())
        if len(cells) == 3
    }
    means = {}
    for table, ratio in (("poster-1", 60), ("poster-2", 500)):
        results, _ = results_of(table)
        gains = {}
        for line in results.lines:
            gain = results.gap(line, "aos", "ros", ("all", "f1"))
            if line.startswith("cifar10") and len(gain):
                (shown,) = [text for key, text in rows.items() if key.startswith(f"{table}, {line}")]
                assert shown == interval(gain, sign=True)
                if re.fullmatch(rf"cifar10-mu[\d.]+-ratio{ratio}", line):
                    gains[line] = gain
        means[table] = pd.DataFrame(gains).dropna().mean(axis=1)
        assert rows[f"{table}, mean of {len(gains)} lines at ratio {ratio}"] == interval(
            means[table], sign=True
        )
    growth = (means["poster-2"] - means["poster-1"]).dropna()
    words = f"{judged(growth).verdict} by {len(growth)} repeat{'s' * (len(growth) > 1)}: {interval(growth, sign=True)}"
    assert rows["ratio 500 minus ratio 60"] == words


def test_what_is_said_of_each_component_is_in_the_ablation():
    text = (ROOT / "docs/recipe/ablation.md").read_text("utf-8")
    table = {}
    for line in text.splitlines():
        if line.startswith("| ") and "(`counterpoise:" in line:
            cells = line.strip("| ").split(" | ")
            table[cells[0].split(" (`")[0]] = [float(cell.split()[0]) for cell in cells[2::2]]
    mnist, fashion, cifar = range(3)
    words = " ".join(RECIPE.split())

    def said(sentence, component, *numbers):
        assert sentence in words, sentence
        for which, number in numbers:
            assert round(-table[component][which], 2) == pytest.approx(number, abs=0.0051), (component, which)

    shifts, head = "no random shifts and rotations", "no fine-tuning of the head"
    said("without them CIFAR-10 loses .26 and MNIST at ratio 500 .07", shifts, (cifar, 0.26), (mnist, 0.07))
    said("the sampling (MNIST .27, Fashion-MNIST .07;", "no sampling", (mnist, 0.27), (fashion, 0.07))
    said("(CIFAR-10 .19, Fashion-MNIST .17, MNIST .01)", head, (cifar, 0.19), (fashion, 0.17), (mnist, 0.01))
    one_cycle, adversarial = "constant learning rate", "no adversarial images"
    said("gains .03 on CIFAR-10 and less than .01 on MNIST, and costs .01 on Fashion-MNIST", one_cycle)
    said("the adversarial images gain .01 on MNIST, cost .02 on Fashion-MNIST", adversarial)
    assert [round(-x, 2) for x in table[one_cycle]] == [0.0, -0.01, 0.03]
    assert [round(-x, 2) for x in table[adversarial]] == [0.01, -0.02, -0.01]


# Citations.


@pytest.mark.parametrize(
    "text",
    [
        README,
        METHODS.split("\n## `aos`: ")[1].split("\n## ")[0],
        METHODS.split("#### aos\n")[1].split("####")[0],
    ]
    + [
        (ROOT / "results" / name / "page.md").read_text("utf-8")
        for name in TABLES
        if name.startswith("poster")
    ],
)
def test_the_paper_of_aos_is_cited_where_aos_is(text):
    assert re.search(r"Wojciechowski.*PMLR 183:98-111,? \(?2022", text, flags=re.DOTALL)


def test_the_table_beside_peers_shows_the_measured_numbers():
    """Means and half intervals of results.csv, in the tables of five minutes."""
    page = (ROOT / "docs/studies/practice.md").read_text("utf-8").split("## Two and a half minutes")[0]
    shown = {
        tuple(re.findall(r"\d\.\d{3}(?: ± \d\.\d{3})?", line.replace("**", ""))) for line in page.split("\n")
    }
    found = pd.read_csv(ROOT / "benchmarks/results/practice/results.csv")
    scores = ["gmean", "f1", "worst_recall", "balanced_accuracy"]
    for _, rows in found[found.budget == 300].groupby(["set", "peer"]):
        intervals = [mean_interval(rows[score]) for score in scores]
        cells = [
            f"{i.mean:.3f}" if i.low is None else f"{i.mean:.3f} ± {(i.high - i.low) / 2:.3f}"
            for i in intervals
        ]
        assert tuple(cells) in shown, rows
