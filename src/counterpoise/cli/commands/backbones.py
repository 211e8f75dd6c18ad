"""List recommended pretrained networks: what is installed, cached, or would be downloaded."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, print_table, say
from counterpoise.config import BackbonesConfig

PANEL = "What there is"
ORDER = 145


@Command
def command(config: BackbonesConfig, call: Call) -> None:
    from counterpoise.networks import BACKBONES

    entries = list(BACKBONES)
    places = [entry.place() for entry in entries]
    speeds = _speeds([entry.name for entry in entries]) if config.speed else [None] * len(entries)
    if call.as_json:
        fields = ("name", "title", "summary", "source", "megabytes", "license")
        print_json(
            [
                {field: getattr(entry, field) for field in fields}
                | {"origin": place.origin, "state": place.state, "images_per_second": speed}
                for entry, place, speed in zip(entries, places, speeds, strict=True)
            ]
        )
        return
    columns = ["backbone", "what it is", "MB", "license", "state"]
    rows = [
        [entry.name, f"{entry.title}: {entry.summary}", str(entry.megabytes), entry.license, place.state]
        for entry, place in zip(entries, places, strict=True)
    ]
    if config.speed:
        columns.append("images/s")
        rows = [[*row, f"{speed:.0f}"] for row, speed in zip(rows, speeds, strict=True)]
    print_table(columns, rows)
    say("Start from one with --pretrained NAME; any other NAME.TAG of timm works, too.")
    say("installed: with counterpoise; cached, to download: from the Hugging Face Hub (folder: $HF_HOME).")
    if not config.speed:
        say("--speed measures how many photographs a second each embeds on this machine.")


def _speeds(names: list[str]) -> list[float | None]:
    """Measure the networks one after another, with a progress bar."""
    from counterpoise.cli.running import counting
    from counterpoise.networks import embedding_speed

    speeds: list[float | None] = []
    with counting("measuring", "networks") as update:
        for name in names:
            update(len(speeds), len(names))
            speeds.append(round(embedding_speed(name), 1))
    return speeds
