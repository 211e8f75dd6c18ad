"""Weights from the Hub on the command line, as a user's environment sets it."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 cannot be reached"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids a download"),
    ],
)
def test_no_connection_is_one_line_and_exit_code_2(photos, tmp_path, environment, reason):
    command = "import sys; from counterpoise.cli.main import main; sys.argv[0] = 'counterpoise'; main()"
    arguments = [
        "train",
        photos,
        "--backbone",
        "test_resnet",
        "--pretrained",
        "hub",
        "--out",
        tmp_path / "run",
    ]
    done = subprocess.run(
        [sys.executable, "-c", command, *map(str, arguments)],
        env=os.environ | {"HF_HOME": str(tmp_path / "home")} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"counterpoise: test_resnet.r160_in1k is not in the local cache, and {reason}; "
        "connect once, or give --pretrained a file of test_resnet.r160_in1k, auto or none\n"
    )
    assert not (tmp_path / "run").exists()


def test_a_cached_file_needs_no_connection(cli, photos, tmp_path, monkeypatch):
    """The license and origin are shown and recorded."""
    import json

    import timm
    from safetensors.torch import save_file

    place = tmp_path / "models--timm--test_resnet.r160_in1k"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file(state, place / "snapshots" / ("0" * 40) / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = ("--pretrained", "test_resnet.r160_in1k", "--image-size", "32")
    done = cli("train", photos, *asked, "--epochs", "1", "--threads", "1", "--out", tmp_path / "run")
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    assert (
        "pretrained: test_resnet.r160_in1k from Hugging Face Hub, timm/test_resnet.r160_in1k (license: apache-2.0)"
        in text
    )
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["network"]["name"] == "test_resnet.r160_in1k"
    assert record["start"]["origin"] == "Hugging Face Hub, timm/test_resnet.r160_in1k"
    assert record["start"]["license"] == "apache-2.0"
