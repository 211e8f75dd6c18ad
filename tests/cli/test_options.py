"""How settings become options: files, spellings, lists of commands, the reference page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from counterpoise.cli.main import listings, load_command
from counterpoise.cli.reference import reference
from counterpoise.config import TrainOptions

QUICK = ("--epochs", "1", "--batch-size", "16", "--threads", "1")
RENAMED = [(name, old, new) for name in listings() for old, new in load_command(name).names.renamed.items()]
PAGE = Path(__file__).parents[2] / "docs/cli.md"


# --- commands -----------------------------------------------------------------------------------------------


def test_commands_stand_in_their_panels_and_order():
    panels = {}
    for listing in listings().values():
        panels.setdefault(listing.panel, []).append(listing.name)
    assert panels == {
        "Start here": ["demo", "fit", "audit"],
        "Train": ["compare", "train"],
        "Use a model": ["evaluate", "predict", "explain", "export", "adjust", "report"],
        "Studies": ["transfer", "enhance", "reproduce"],
        "What there is": ["methods", "backbones", "datasets"],
    }


def test_a_new_command_is_one_file(cli, monkeypatch, tmp_path):
    from counterpoise.cli import commands, main

    (tmp_path / "count.py").write_text(
        '"""Count to N."""\n\n'
        "from counterpoise.cli.options import Command\nfrom counterpoise.config import Config, option\n\n"
        'PANEL = "Extra"\nORDER = 15\n\n\n'
        'class CountConfig(Config):\n    n: int = option(3, "Last number.", ge=1)\n\n\n'
        "@Command\ndef command(config: CountConfig, call):\n    print(*range(1, config.n + 1))\n"
    )
    monkeypatch.setattr(main, "COMMANDS", tmp_path)
    monkeypatch.setattr(commands, "__path__", [str(tmp_path)])
    main.listings.cache_clear()
    try:
        assert cli("count").out == "1 2 3\n"
        assert cli("count", "--n", "5").out == "1 2 3 4 5\n"
        assert "Count to N." in cli("--help").out
        assert cli("count", "--n", "0").complaints == ["counterpoise: --n 0: expected at least 1"]
    finally:
        main.listings.cache_clear()
        sys.modules.pop("counterpoise.cli.commands.count", None)


def modules_after(*arguments):
    code = (
        "import sys\nfrom counterpoise.cli.main import run\n"
        f"assert run({list(arguments)!r}) == 0\nprint(' '.join(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(out.splitlines()[-1].split())


def test_help_imports_no_command_and_nothing_heavy():
    loaded = modules_after("--help")
    assert not {name for name in loaded if name.startswith("counterpoise.cli.commands.")}
    assert loaded.isdisjoint({"pydantic", "torch", "numpy", "pandas", "yaml"})


@pytest.mark.parametrize("command", sorted(listings()))
def test_help_of_a_command_imports_that_command_alone(command):
    loaded = modules_after(command, "-h")
    assert {name for name in loaded if name.startswith("counterpoise.cli.commands.")} == {
        f"counterpoise.cli.commands.{command}"
    }
    assert loaded.isdisjoint({"torch", "numpy", "pandas", "sklearn", "scipy"})


def test_the_package_can_be_run_as_a_module():
    command = [sys.executable, "-m", "counterpoise", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith(
        "counterpoise "
    )


def test_the_page_of_the_command_line_is_the_generated_one():
    assert PAGE.read_text(encoding="utf-8") == reference()


# --- spellings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "old", "new"), RENAMED, ids=" ".join)
def test_a_former_flag_names_the_new_one(refuses, command, old, new):
    for words in ((old, "x"), (f"{old}=x",)):
        assert refuses(command, "data", *words) == f"{old} is now {new}; give {new}"


def test_the_former_flags_are_those_of_the_language_page():
    assert {(old, new) for _, old, new in RENAMED} == {
        ("--draws", "--repeats"),
        ("--split", "--split-file"),
        ("--split", "--task-split"),
        ("--validation", "--val-fraction"),
        ("--test", "--test-fraction"),
        ("--page-only", "--render-only"),
        ("--publish", "--export-to"),
        ("--earlier", "--resume-from"),
        ("--against", "--compare-with"),
        ("--with", "--adjustment"),
        ("--score", "--target"),
        ("--scores", "--map-scores"),
        ("--target", "--target-class"),
    }


def test_spellings_of_timm_are_accepted_and_not_listed(cli, photos):
    options = ("--img-size", "10", "--opt=sgd", "--sched", "cosine")
    result = cli("train", photos, "--method", "bl", *QUICK, *options, "--out", "run")
    assert (result.code, result.err) == (0, "")
    record = json.loads(Path("run/run.json").read_text())
    assert record["dataset"]["image_size"] == [10, 10]
    assert (record["training"]["optimizer"], record["training"]["schedule"]) == ("sgd", "cosine")
    text = cli("train", "--help").out
    assert [name for name in ("--img-size", "--opt ", "--sched ") if name in text] == []


def test_of_a_flag_given_twice_the_last_counts(cli):
    out = cli("train", "digits", "--lr", "1", "--strict", "--lr=2", "--no-strict", "--print-config").out
    assert re.findall(r"^  (lr|strict): (.*)$", out, re.MULTILINE) == [("strict", "false"), ("lr", "2.0")]


def test_a_flag_without_a_value(refuses):
    assert refuses("train", "digits", "--epochs") == "--epochs needs a value"
    assert refuses("train", "--epochs", "--lr", "3", "digits") == "--epochs needs a value"


def test_every_fault_is_in_the_one_line(refuses):
    line = refuses("train", "digits", "--lr", "fast", "--epochs", "0", "--device", "tpu")
    assert line == (
        "--epochs 0: expected at least 1; --lr fast: expected a number; --device tpu: expected 'auto', 'cpu' or 'cuda'"
    )


@pytest.mark.parametrize("command", ["compare", "enhance"])
def test_studies_run_on_the_named_back_end(refuses, photos, command):
    assert "unknown backend 'rya'; did you mean 'ray'?" in refuses(
        command, photos, "--backend", "rya", "--batch-size", "4"
    )


def test_evaluate_without_data_uses_that_of_the_run(cli, photos, trained):
    alone, named = (json.loads(cli("evaluate", trained, *data, "--json").out) for data in ((), (photos,)))
    assert alone == named
    assert alone["data"] == str(photos)


# --- files of settings --------------------------------------------------------------------------------------


def test_a_file_of_settings_is_what_its_flags_are(cli, photos):
    Path("s.yaml").write_text(
        f"data: {{source: '{photos}'}}\nmethod: bl-cw\nout: by file\n"
        "train: {epochs: 7, batch_size: 16, threads: 1, lr: 1e-2}\n"
    )
    assert cli("train", "--config", "s.yaml", "--epochs", "1").code == 0
    assert cli("train", photos, "--method", "bl-cw", *QUICK, "--lr", "0.01", "--out", "by flags").code == 0
    records = [json.loads(Path(name, "run.json").read_text()) for name in ("by file", "by flags")]
    assert records[0]["config_hash"] == records[1]["config_hash"]
    assert records[0]["config"]["resolved"] == records[1]["config"]["resolved"]


def test_a_run_records_what_was_asked_and_what_it_became(cli, photos, trained):
    assert (
        cli("train", photos, "--weights", trained, "--freeze", "auto", *QUICK[:4], "--out", "run").code == 0
    )
    config = json.loads(Path("run/run.json").read_text())["config"]
    assert set(config) == {"asked", "resolved"}
    asked, resolved = config["asked"], config["resolved"]
    given = {name: value for name, value in asked["model"].items() if value not in (None, "none")}
    assert given == {"weights": str(trained), "freeze": "auto"}
    assert (asked["train"]["epochs"], asked["train"]["threads"], asked["out"]) == (1, None, "run")
    assert asked["split"]["validation_fraction"] is None
    assert resolved["network"] == json.loads((trained / "run.json").read_text())["network"]["name"]
    assert (resolved["freeze"], resolved["features"]) == ("auto", "last")
    assert resolved["config"]["threads"] >= 1
    assert resolved["split"]["validation_fraction"] == 0.1


def test_what_does_not_apply_stays_off_json(capsys):
    from counterpoise.cli.running import finish

    summary = {"failed": [], "not_applicable": [{"method": "aos", "draw": 0, "reason": "no pixels"}]}
    assert finish(summary, lambda: None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == summary
    assert finish(summary, lambda: None, as_json=False) == 0
    assert capsys.readouterr().out == "- aos, repeat 0, does not apply here: no pixels\n"


def test_a_comparison_records_it_for_every_run(cli, photos):
    options = ("--methods", "bl,ros", "--repeats", "2", "--jobs", "1", "--seed", "4", *QUICK[:4])
    assert cli("compare", photos, *options, "--out", "study").code == 0
    configs = [json.loads(path.read_text())["config"] for path in Path("study/runs").glob("*/run.json")]
    assert {config["asked"]["methods"] for config in configs} == {"bl,ros"}
    found = {
        (c["resolved"]["method"], c["resolved"]["draw"], c["resolved"]["config"]["seed"]) for c in configs
    }
    assert found == {("bl", 0, 4), ("ros", 0, 4), ("bl", 1, 5), ("ros", 1, 5)}
    assert {config["resolved"]["config"]["threads"] for config in configs} == {1}


def test_settings_left_open_stay_open_in_a_file(cli, photos):
    """What they become depends on the weights: fine-tuning takes smaller steps than training from scratch."""
    result = cli("train", photos, "--optimizer", "sgd", "--ema", "0", "--print-config")
    Path("s.yaml").write_text(result.out)
    assert cli("train", "--config", "s.yaml", "--print-config").out == result.out
    asked = yaml.safe_load(result.out)["train"]
    names = ("lr", "optimizer", "batch_norm", "select", "schedule", "ema", "clip", "epochs")
    assert [asked[name] for name in names] == [None, "sgd", None, None, None, 0, None, None]
    tuned = TrainOptions(**asked).resolved(fine_tuned=True, images=640)
    assert [getattr(tuned, name) for name in names] == [1.5e-4, "sgd", "keep", "best", "one-cycle", 0, 1.0, 5]
    scratch = TrainOptions(**asked).resolved(images=640)
    assert [getattr(scratch, name) for name in names] == [1e-3, "sgd", "train", "last", None, 0, None, 50]


def test_settings_are_printed_as_asked(cli, photos):
    result = cli("compare", photos, "--epochs", "3", "--print-config")
    assert (result.code, result.err) == (0, "")
    assert f"  source: {photos}" in result.out
    assert "  epochs: 3" in result.out
    assert "  # Network: lenet, convnet" in result.out
    assert "  backbone: null" in result.out
    Path("s.yaml").write_text(result.out)
    assert cli("compare", "--config", "s.yaml", "--print-config").out == result.out


def test_a_file_with_faults_is_one_line(refuses, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("train: {epochs: 0}\nsplits: {ratio: 3}\n")
    line = refuses("compare", "digits", "--config", file, "--lr", "x")
    assert line == (
        f"{file}: train.epochs 0: expected at least 1; --lr x: expected a number; "
        f"{file}: unknown setting splits; did you mean split?"
    )
    assert (
        refuses("compare", "digits", "--config", "nowhere.yaml")
        == "cannot read nowhere.yaml: No such file or directory"
    )
