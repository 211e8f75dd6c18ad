"""Check a dataset before training: counts, rare classes, damaged, duplicate and odd images, what to do next."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, command_line, complain, print_json, print_table, say
from counterpoise.cli.running import counting, folder_for, load
from counterpoise.config import AuditConfig
from counterpoise.exceptions import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from counterpoise.datasets import Audit, Proposal
    from counterpoise.studies import SuspectLabel

PANEL = "Start here"
ORDER = 20
NAMED = 5


@Command
def command(config: AuditConfig, call: Call) -> None:
    from counterpoise.datasets import DATASETS, audit

    if config.out is not None and not config.deep:
        raise InputError("`out` is the folder of a deep audit; give `deep`, too, or leave `out` out")
    data = config.data
    # Only the files themselves show their format and compression.
    dataset = load(data, quiet=True, in_memory="auto" if data.source in DATASETS else False)
    with counting("checking images", "img") as update:
        data_dir = None if data.data_dir is None else str(data.data_dir)
        ratio = 2.0 if config.minority_ratio is None else config.minority_ratio
        found = audit(dataset, source=data.source, data_dir=data_dir, minority_ratio=ratio, progress=update)
    advice = [command.names.translate(sentence) for sentence in found.recommendations]
    group = data.group or (found.proposed_group and found.proposed_group.pattern)
    given = [("group", group), ("path-column", data.path_column), ("label-column", data.label_column)]
    given += [("exclude", data.exclude), *(("merge", text) for text in data.merge)]
    more = [word for name, value in given if value for word in (f"--{name}", value)]
    comparison = _comparison(found.proposal, more)
    next_command = _fit(found.proposal, more) if found.photographs else comparison
    if call.as_json:
        labels = {}
        if config.deep:
            labels["label_errors"] = [item._asdict() for item in _label_errors(config, advice, quiet=True)]
        print_json({**found.to_dict(), "recommendations": advice, **labels, "next_command": next_command})
        return
    _show(found)
    say()
    for sentence in advice:
        advise(sentence)
    if config.deep:
        say()
        _label_errors(config, advice)
    say()
    say(f"next: {next_command}")
    if found.photographs:
        say(f"      {comparison}   (to study methods)")


def _label_errors(
    config: AuditConfig, advice: "Sequence[str]", *, quiet: bool = False
) -> "list[SuspectLabel]":
    """Find likely label errors and write the page about them; print the first ones unless `quiet`."""
    from counterpoise.studies import find_label_errors, plan_deep_audit, write_audit_page

    dataset, plan, note = plan_deep_audit(config.data)
    complain(note)
    folder, ratio = config.out or folder_for(dataset, "audit"), config.minority_ratio or 2.0
    with counting("embedding images", "img") as update:
        found = find_label_errors(dataset, plan, folder / "cache", minority_ratio=ratio, progress=update)
    write_audit_page(folder / "audit.html", dataset, found, advice)
    if not quiet:
        say(f"labels that may be wrong: {len(found)}; pictures: {folder / 'audit.html'}")
        for item in found[:NAMED]:
            say(f"  {item.path}: labeled {item.label}, rather {item.suggested} ({item.probability:.0%})")
    return found


def _fit(proposal: "Proposal", more: list[str]) -> str:
    """Return the command that finds the best model."""
    data_dir = [] if proposal.data_dir is None else ["--data-dir", proposal.data_dir]
    return command_line("fit", proposal.source, *data_dir, *more, "--out", f"{proposal.out}-fit")


def _comparison(proposal: "Proposal", more: list[str]) -> str:
    """Return the command that runs the proposed comparison."""
    words = ["compare", proposal.source]
    if proposal.data_dir is not None:
        words += ["--data-dir", proposal.data_dir]
    if proposal.imbalance is not None:
        words += ["--imbalance", proposal.imbalance, "--ratio", f"{proposal.ratio:g}"]
        words += ["--minority", str(proposal.minority)]
    words += ["--methods", ",".join(proposal.methods), "--repeats", str(proposal.repeats)]
    return command_line(*words, *more, "--out", proposal.out)


def _most_common(sizes: Mapping[str, int]) -> str:
    listed = [f"{size} ({count:,})" for size, count in list(sizes.items())[:NAMED]]
    return ", ".join(listed) + (f", and {len(sizes) - NAMED} more" if len(sizes) > NAMED else "")


def _show(found: "Audit") -> None:
    height, width = found.image_size
    splits = list(found.counts)
    rows = [
        [name, *(f"{found.counts[s][index]:,}" for s in splits), "rare" if index in found.minority else ""]
        for index, name in enumerate(found.classes)
    ]
    rows.append(["all", *(f"{sum(found.counts[split]):,}" for split in splits), ""])
    kind = "grayscale" if found.channels == 1 else "color"
    title = f"{found.name}: {len(found.classes)} classes of {kind} images, {height}x{width} pixels"
    print_table(["class", *splits, ""], rows, title=title, best=len(rows) - 1)
    say(f"imbalance ratio: {found.imbalance_ratio:.3g} (largest over smallest training class)")
    if len({size for sizes in found.sizes.values() for size in sizes}) > 1:
        rows = [[name, str(len(sizes)), _most_common(sizes)] for name, sizes in found.sizes.items()]
        print_table(["class", "sizes", "most common"], rows, title="sizes of the training images")
    for note in found.grouping:
        say(command.names.translate(note))
    listed = {"unreadable": [f"{item.path}: {item.reason}" for item in found.unreadable]}
    listed["duplicates"] = [" = ".join(group.paths) for group in found.duplicates]
    listed["near-duplicates"] = [" ~ ".join(group.paths) for group in found.near_duplicates]
    listed["odd"] = [f"{item.path} {item.reason}" for item in found.odd]
    for what, items in listed.items():
        if items:
            say(f"{what}: {len(items)}")
        for item in items[:NAMED]:
            say(f"  {item}")
        if len(items) > NAMED:
            say(f"  ... and {len(items) - NAMED} more (--json names all)")
