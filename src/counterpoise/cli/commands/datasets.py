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
    sizes = [[f"{size:,}" if size else "-" for size in (r.train_size, r.test_size)] for r in records]
    rows = [[r.name, str(r.num_classes), *own, r.title] for r, own in zip(records, sizes, strict=True)]
    print_table(["dataset", "classes", "train", "test", "images"], rows)
    say("They are read from --data-dir, or downloaded to it; --json says where below it.")
