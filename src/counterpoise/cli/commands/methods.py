"""List the methods; `--json` also lists their options."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, print_table, say
from counterpoise.config import NoConfig

PANEL = "What there is"
ORDER = 140
FIELDS = ("name", "title", "summary", "paper")


@Command
def command(config: NoConfig, call: Call) -> None:
    from counterpoise.methods import all_methods

    methods = all_methods().values()
    if call.as_json:
        print_json(
            [{field: getattr(m, field) for field in FIELDS} | {"options": m.options()} for m in methods]
        )
        return
    print_table(["method", "what it does", "from"], [[m.name, m.summary, m.paper] for m in methods])
    say("Options stand behind a name, as in ados:nu_max=30; --json lists them.")
