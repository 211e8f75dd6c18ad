"""Write one HTML file, readable offline, about a comparison or about runs."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, say
from counterpoise.config import ReportConfig

PANEL = "Use a model"
ORDER = 100


@Command
def command(config: ReportConfig, call: Call) -> None:
    from counterpoise.report import build_report

    target = build_report(list(config.paths), config.out or config.paths[0] / "report.html")
    if call.as_json:
        print_json({"report": str(target)})
    else:
        say(f"report: {target}")
