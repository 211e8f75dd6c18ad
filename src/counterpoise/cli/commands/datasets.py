"""List the built-in datasets; a folder, a zip or a CSV of your own images works as well."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, print_table, say
from counterpoise.config import NoConfig

PANEL = "What there is"
ORDER = 150
FIELDS = ("name", "title", "num_classes", "channels", "image_size", "train_size", "test_size", "where")


@Command
def command(config: NoConfig, call: Call) -> None:
    from counterpoise.datasets import DATASETS

    records = list(DATASETS)
    if call.as_json:
        print_json([{field: getattr(record, field) for field in FIELDS} for record in records])
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
    print_table(["dataset", "classes", "train", "test", "images"], rows)
    say("They are read from --data-dir, or downloaded to it; --json says where below it.")
