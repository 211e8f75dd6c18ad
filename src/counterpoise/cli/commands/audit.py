"""Check a dataset before training: counts, rare classes, damaged, duplicate and odd images, what to do next."""

from typing import TYPE_CHECKING

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, command_line, print_json, print_table, say
from counterpoise.cli.running import counting, load
from counterpoise.config import AuditConfig, DataConfig

if TYPE_CHECKING:
    from counterpoise.datasets import Audit, Proposal

PANEL = "Start here"
ORDER = 20
NAMED = 5


@Command
def command(config: AuditConfig, call: Call) -> None:
    from counterpoise.datasets import audit

    dataset = load(DataConfig(source=config.source, data_dir=config.data_dir), quiet=True)
    with counting("checking images", "img") as update:
        data_dir = None if config.data_dir is None else str(config.data_dir)
        ratio = 2.0 if config.minority_ratio is None else config.minority_ratio
        source = config.source
        found = audit(dataset, source=source, data_dir=data_dir, minority_ratio=ratio, progress=update)
    advice = [command.names.translate(sentence) for sentence in found.recommendations]
    comparison = _comparison(found.proposal)
    next_command = _fit(found.proposal) if found.photographs else comparison
    if call.as_json:
        print_json({**found.to_dict(), "recommendations": advice, "next_command": next_command})
        return
    _show(found)
    say()
    for sentence in advice:
        advise(sentence)
    say()
    say(f"next: {next_command}")
    if found.photographs:
        say(f"      {comparison}   (to study methods)")


def _fit(proposal: "Proposal") -> str:
    """Return the command that finds the best model."""
    data_dir = [] if proposal.data_dir is None else ["--data-dir", proposal.data_dir]
    return command_line("fit", proposal.source, *data_dir, "--out", f"{proposal.out}-fit")


def _comparison(proposal: "Proposal") -> str:
    """Return the command that runs the proposed comparison."""
    words = ["compare", proposal.source]
    if proposal.data_dir is not None:
        words += ["--data-dir", proposal.data_dir]
    if proposal.imbalance is not None:
        words += ["--imbalance", proposal.imbalance, "--ratio", f"{proposal.ratio:g}"]
        words += ["--minority", str(proposal.minority)]
    words += ["--methods", ",".join(proposal.methods), "--repeats", str(proposal.repeats)]
    return command_line(*words, "--out", proposal.out)


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
    listed = {"unreadable": [f"{item.path}: {item.reason}" for item in found.unreadable]}
    listed["duplicates"] = [" = ".join(group.paths) for group in found.duplicates]
    listed["odd"] = [f"{item.path} {item.reason}" for item in found.odd]
    for what, items in listed.items():
        if items:
            say(f"{what}: {len(items)}")
        for item in items[:NAMED]:
            say(f"  {item}")
        if len(items) > NAMED:
            say(f"  ... and {len(items) - NAMED} more (--json names all)")
