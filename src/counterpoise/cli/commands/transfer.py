"""Which layers carry over from task A to task B? The lecture's baseB, BnB, BnB+, AnB, AnB+, with its figure.

Finished trainings are kept: give the command again to resume after an interruption, or to add layers and repeats.
"""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import advise, interval, mean_of, print_table, say
from counterpoise.cli.running import finish, folder_for, load, run_with_bars
from counterpoise.config import TransferConfig

PANEL = "Studies"
ORDER = 110


@Command
def command(config: TransferConfig, call: Call) -> int:
    dataset = load(config.data)

    from counterpoise.studies import TransferStudy, make_transfer_plan
    from counterpoise.studies.transfer import TREATMENTS, finding_rows

    plan = make_transfer_plan(dataset, config, command=call.line)
    folder = config.out or folder_for(dataset, "transfer", config.task_split)
    result = run_with_bars(TransferStudy(plan, dataset), folder, config, tasks=len(plan.cells))

    def show() -> None:
        summary = result.summary
        points = {(point["treatment"], point["layers"]): point for point in summary["curves"]}
        rows = [
            [str(n), *(interval(points.get((treatment, n))) for treatment in TREATMENTS)]
            for n in summary["layers"]
        ]
        task = summary["tasks"][0]
        more = " (repeat 0)" if summary["split"] == "random" and summary["draws"] > 1 else ""
        say(f"A: {', '.join(task['A'])}{more}")
        say(f"B: {', '.join(task['B'])}{more}")
        title = f"accuracy on the test images of B: {mean_of(summary['draws'])}"
        print_table(["n", *TREATMENTS], rows, title=title)
        say(f"baseB, trained on B from scratch: {interval(points.get(('baseB', 0)))}")
        say(f"baseA, on the test images of A: {interval(points.get(('baseA', 0)))}")
        for claim, verdict, measured in finding_rows(summary):
            advise(f"{claim}: {verdict} ({measured})")
        if summary["curves"]:
            say(f"figure: {folder / 'transfer.png'}")
            say(f"report: {folder / 'transfer.html'}")

    return finish(result.summary, show, as_json=call.as_json)
