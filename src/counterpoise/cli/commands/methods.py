"""``counterpoise methods``."""

from __future__ import annotations

from counterpoise.cli.options import AsJson
from counterpoise.cli.printing import print_json, print_table, say

PANEL = "What there is"


def command(as_json: AsJson = False) -> None:
    """List the methods; `--json` also lists their options."""
    from counterpoise.methods import all_methods

    records = all_methods().values()
    if as_json:
        print_json(
            [
                {
                    "name": m.name,
                    "title": m.title,
                    "summary": m.summary,
                    "paper": m.paper,
                    "options": m.options(),
                }
                for m in records
            ]
        )
        return
    print_table(["method", "what it does", "from"], [[m.name, m.summary, m.paper] for m in records])
    say("Options stand behind a name, as in ados:nu_max=30; --json lists them.")
