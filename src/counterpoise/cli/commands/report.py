"""Write one HTML file, readable offline, about a comparison or about runs."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import print_json, say
from counterpoise.config import ReportConfig
from counterpoise.exceptions import InputError

PANEL = "Use a model"
ORDER = 100
PAGE = b"<!doctype html>"


@Command
def command(config: ReportConfig, call: Call) -> None:
    from counterpoise.report import build_report

    first, out = config.paths[0], config.out or config.paths[0] / "report.html"
    if out.is_file() and not out.read_bytes().startswith(PAGE):
        raise InputError(f"{out} exists and is no report; choose another `out`")
    if len(config.paths) == 1 and (first / "fit.json").exists():
        from counterpoise.studies import build_fit_report

        target = build_fit_report(first, out / "report.html" if out.is_dir() else out)
    else:
        target = build_report(list(config.paths), out)
    if call.as_json:
        print_json({"report": str(target)})
    else:
        say(f"report: {target}")
