"""``counterpoise datasets``."""

from __future__ import annotations

from counterpoise.cli.options import AsJson
from counterpoise.cli.printing import print_json, print_table, say

PANEL = "What there is"


def command(as_json: AsJson = False) -> None:
    """List the built-in data sets; a folder, a zip or a CSV of your own images works as well."""
    from counterpoise.datasets import DATASETS

    records = list(DATASETS)
    if as_json:
        fields = (
            "name",
            "title",
            "num_classes",
            "channels",
            "image_size",
            "train_size",
            "test_size",
            "where",
        )
        print_json([{field: getattr(record, field) for field in fields} for record in records])
        return
    rows = [
        [
            record.name,
            str(record.num_classes),
            f"{record.train_size:,}",
            f"{record.test_size:,}" if record.test_size else "-",
            record.title,
        ]
        for record in records
    ]
    print_table(["data set", "classes", "train", "test", "what it shows"], rows)
    say("They lie in --data-dir, or are downloaded to it; --json says where below it.")
