"""Whatever is wrong with what a user gives: one clear line on stderr, exit code 2, nothing left behind."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.runs import RunFolder

QUICK = ("--epochs", "1", "--batch-size", "3", "--threads", "1")
COMPARE = ("--methods", "bl,bl-cw", "--repeats", "1", "--jobs", "1", "--epochs", "1", "--batch-size", "3")


@pytest.fixture(autouse=True)
def _no_data_dir(monkeypatch):
    monkeypatch.delenv("COUNTERPOISE_DATA", raising=False)


# --- the data -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["audit", "compare", "train"])
def any_reader(request):
    return request.param


def test_a_missing_path(refuses, any_reader):
    assert "no such file or folder: 'nowhere/pictures'" in refuses(any_reader, "nowhere/pictures")


def test_a_misspelt_name_of_a_data_set(refuses, any_reader):
    assert "did you mean 'digits'?" in refuses(any_reader, "digit")


def test_an_empty_folder(refuses, any_reader, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refuses(any_reader, tmp_path / "empty")
    assert "empty holds no images; expected a folder of images for each class" in message


def test_one_class_only(refuses, any_reader, tmp_path, pictures):
    message = refuses(any_reader, pictures(tmp_path / "cats", {"cat": 5}))
    assert "one class only ('cat')" in message
    assert "at least two classes" in message


def test_a_class_with_one_image(refuses, tmp_path, pictures):
    folder = pictures(tmp_path / "lone", {"cat": 9, "dog": 1})
    for command in ("compare", "train"):
        message = refuses(command, folder)
        assert "class 'dog' of lone has one training image" in message
        assert "add images, or --exclude or --merge the class" in message


def test_a_class_in_test_that_is_not_in_train(refuses, any_reader, tmp_path, pictures):
    pictures(tmp_path / "set/train", {"cat": 5, "dog": 5})
    pictures(tmp_path / "set/test", {"cat": 5, "yak": 5})
    message = refuses(any_reader, tmp_path / "set")
    assert "class 'yak' is in the test split of set but has no training images" in message


@pytest.fixture
def damaged(tmp_path, pictures):
    """A folder in which one image is cut short, one is text, and one is empty."""
    folder = pictures(tmp_path / "damaged", {"cat": 12, "dog": 9})
    whole = folder / "cat/large.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(whole)
    whole.write_bytes(whole.read_bytes()[:-900])
    (folder / "cat/text.png").write_text("no picture")
    (folder / "dog/empty.png").write_bytes(b"")
    return folder


REASONS = {
    "cat/large.jpg": "the file is cut short (truncated)",
    "cat/text.png": "not an image in a known format",
    "dog/empty.png": "empty file (0 bytes)",
}


def test_unreadable_images_are_skipped_by_name(cli, damaged):
    result = cli("train", damaged, *QUICK, "--out", "run", "--json")
    assert result.code == 0
    assert sorted(result.complaints) == sorted(f"counterpoise: skipped {p}: {r}" for p, r in REASONS.items())
    record = json.loads(Path("run/run.json").read_text())
    assert {item["path"]: item["reason"] for item in record["dataset"]["skipped"]} == REASONS
    assert sum(map(sum, record["dataset"]["counts"].values())) == 21


@pytest.mark.parametrize("command", ["compare", "train"])
def test_unreadable_images_are_fatal_under_strict(refuses, damaged, command):
    message = refuses(command, damaged, "--strict")
    assert "cannot use cat/large.jpg: the file is cut short (truncated) (and 2 more)" in message


def test_predict_skips_or_refuses_unreadable_images(cli, refuses, damaged, trained):
    assert "cannot use" in refuses("predict", trained, damaged, "--strict")
    result = cli("predict", trained, damaged, "--json")
    assert result.code == 0
    assert {Path(item["path"]).name for item in json.loads(result.out)["skipped"]} == {
        "large.jpg",
        "text.png",
        "empty.png",
    }
    message = refuses("predict", trained, damaged / "cat/text.png", "--out", "again.csv")
    assert "text.png: not an image in a known format" in message


def test_odd_images_work(cli, tmp_path, pictures):
    folder = pictures(tmp_path / "odd", {"cat": 12, "dog": 9})
    noise = np.random.default_rng(0)
    Image.new("L", (1, 1), 200).save(folder / "cat/tiny.png")
    Image.fromarray(noise.integers(0, 65536, (8, 8)).astype(np.uint16)).save(folder / "cat/deep.png")
    Image.fromarray(noise.integers(0, 256, (8, 8)).astype(np.uint8)).convert("P").save(
        folder / "dog/palette.png"
    )
    Image.fromarray(noise.integers(0, 256, (8, 8, 4)).astype(np.uint8), "RGBA").save(folder / "dog/alpha.png")
    Image.fromarray(noise.integers(0, 256, (33, 17, 3)).astype(np.uint8)).save(folder / "dog/larger.bmp")
    result = cli("train", folder, *QUICK, "--out", "run")
    assert result.code == 0
    assert ["cat/deep.png, have more than 8 bits" in line for line in result.complaints] == [True, False]
    assert (
        "24 of 26 files, such as cat/0.png, are grayscale and fill all three channels" in result.complaints[1]
    )
    record = json.loads(Path("run/run.json").read_text())
    assert record["dataset"]["skipped"] == []
    assert sum(map(sum, record["dataset"]["counts"].values())) == 26
    assert cli("predict", "run", folder / "cat/tiny.png", folder / "cat/deep.png", folder / "dog").code == 0
    assert len(Path("predictions.csv").read_text().splitlines()) == 1 + 2 + 12


def zip_of(folder, target, *extra):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder).as_posix())
        for name, content in extra:
            archive.writestr(name, content)
    return target


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../../cat/evil.png", b"x", "names a file outside of itself ('../../cat/evil.png')"),
        ("cat/bomb.png", bytes(150_000_000), "zip bomb: 'cat/bomb.png'"),
    ],
    ids=["outside", "bomb"],
)
def test_a_hostile_zip(refuses, tmp_path, pictures, trained, name, content, words):
    folder = pictures(tmp_path / "set", {"cat": 6, "dog": 6})
    archive = zip_of(folder, tmp_path / "set.zip", (name, content))
    for command in (("audit",), ("train",), ("compare",), ("predict", trained)):
        assert words in refuses(*command, archive)


def test_a_file_that_is_no_zip_and_one_of_no_known_kind(refuses, tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK, but not really")
    (tmp_path / "set.txt").write_text("cats")
    assert "is not a usable zip" in refuses("train", tmp_path / "set.zip")
    assert "neither a folder nor a .zip nor a table (.csv, .tsv, .parquet)" in refuses(
        "train", tmp_path / "set.txt"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "path,weight\ncat/0.png,1\n",
            "'label' is missing among path, weight; name it so, or give --label-column",
        ),
        ("path,label\ncat/0.png,cat\ncat/99.png,cat\n", "line 3: no file cat/99.png"),
        ("path,label\ncat/0.png,\n", "line 2: the label is empty"),
        ("path,label,split\ncat/0.png,cat,tset\n", "line 2: unknown split 'tset'"),
        ("", "is empty; expected the columns path,label"),
    ],
)
def test_a_wrong_csv(refuses, any_reader, tmp_path, pictures, text, words):
    pictures(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "list.csv").write_text(text)
    assert words in refuses(any_reader, tmp_path / "list.csv")


# --- options ------------------------------------------------------------------------------------------------

STEP = ("--imbalance", "step")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            (*STEP, "--minority", "1", "--ratio", "0"),
            "imbalance ratio is 0.0; expected a number of at least 1",
        ),
        ((*STEP, "--minority", "1", "--ratio", "1e9"), "the ratio can be 36 at most"),
        ((*STEP, "--minority", "3", "--ratio", "2"), "minority is 3 of 3 classes; expected 1 to 2"),
        (
            (*STEP, "--minority", "owl,cow", "--ratio", "2"),
            "unknown minority class 'cow'; did you mean 'owl'?",
        ),
        ((*STEP, "--minority", "", "--ratio", "2"), "names no class; give a number"),
        ((*STEP, "--minority", "1"), "needs a ratio; give --ratio"),
        (("--ratio", "10"), "imbalance 'natural' takes no ratio"),
        (
            ("--imbalance", "linear", "--ratio", "3", "--minority", "1"),
            "imbalance 'linear' takes no minority",
        ),
        (("--imbalance", "stop", "--ratio", "3"), "did you mean 'step'?"),
        ((*STEP, "--minority", "1", "--ratio", "2", "--minority-ratio", "3"), "leave --minority-ratio out"),
        (("--backbone", "resnt18"), "unknown network 'resnt18'; did you mean 'resnet18'?"),
        (("--backbone", "lenet"), "lenet needs images of at least 12x12, found 8x8"),
        (("--weights", "none.pt"), "cannot read none.pt: No such file"),
        (("--epochs", "0"), "--epochs 0: expected at least 1"),
        (("--threads", "0"), "--threads 0: expected at least"),
        (("--workers", "-1"), "--workers -1: expected at least"),
        (("--batch-size", "1"), "--batch-size 1: expected at least"),
        (("--seed", "-1"), "--seed -1: expected at least"),
        (("--lr", "-1"), "--lr -1: expected more than 0"),
        (("--lr", "fast"), "--lr fast: expected a number"),
        (("--optimizer", "adm"), "--optimizer adm: expected 'adam', 'adamw' or 'sgd'"),
        (
            ("--schedule", "cos"),
            "--schedule: unknown schedule 'cos'; did you mean 'cosine'?",
        ),
        (("--precision", "8"), "--precision 8: expected"),
        (("--device", "tpu"), "--device tpu: expected 'auto', 'cpu' or 'cuda'"),
        (("--val-fraction", "1.5"), "--val-fraction is 1.5; expected a share from 0 to below 1"),
        (("--test-fraction", "0.5"), "has test images of its own; leave --test-fraction out"),
        (("--minority-ratio", "0.5"), "--minority-ratio is 0.5; expected a number of at least 1"),
        (("--image-size", "0"), "--image-size is 0; expected"),
        (("--split-file", "none.json"), "cannot read none.json"),
        (("--epoch", "3"), "unknown option --epoch; did you mean --epochs?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_that_cannot_be(refuses, photos, options, words):
    for command in ("compare", "train"):
        assert words in refuses(command, photos, *options)


def test_all_classes_in_minority(refuses):
    message = refuses("compare", "digits", *STEP, "--ratio", "20", "--minority", "10")
    assert "minority is 10 of 10 classes; expected 1 to 9" in message


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("adso", "unknown method 'adso'; did you mean 'ados'?"),
        ("ados:nu_mx=3", "unknown option of ados 'nu_mx'; did you mean 'nu_max'?"),
        ("ados:nu_max", "is not of the form option=value"),
        ("ados:nu_max=many", "'nu_max' parameter of ADOS must be an int"),
        ("ados:k_min=50", "must rise from k_min over nu_min to nu_max, found k_min=50"),
        ("bl-cw:power=7", "power is 7; expected a number in [0, 1]"),
        ("ros:sampling_strategy=some", "sampling_strategy is 'some'"),
        ("logit-adjusted:tau=x", "tau is x; expected a number or 'validation'"),
        ("bl:loss=nonsense", "unknown loss 'nonsense'"),
    ],
)
def test_a_method_that_cannot_be(refuses, photos, method, words):
    assert words in refuses("train", photos, "--method", method)
    assert words in refuses("compare", photos, "--methods", f"bl,{method}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--repeats", "0"), "--repeats 0: expected at least 1"),
        (("--jobs", "0"), "--jobs 0: expected at least 1"),
        (("--metric", "nonsense"), "unknown metric 'nonsense' (known: accuracy, auc, f1, gmean"),
        (("--methods", ""), "no method given; name at least one, e.g. --methods bl,bl-cw"),
        (("--methods", "bl,bl"), "method 'bl' is named twice"),
        (("--head-epochs", "0"), "--head-epochs 0: expected at least 1"),
        (
            ("--methods", "bl,ros", "--head-epochs", "3"),
            "train no separate head; leave it out",
        ),
    ],
)
def test_an_option_of_compare_that_cannot_be(refuses, photos, options, words):
    assert words in refuses("compare", photos, *options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--device", "cuda"),
            "--device cuda: no CUDA device found on this machine; use --device cpu or auto",
        ),
        (("--precision", "16-mixed"), "--precision 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU"),
    ],
)
def test_what_needs_a_gpu_without_one(refuses, photos, trained, monkeypatch, options, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for command in ("compare", "train"):
        assert words in refuses(command, photos, *options)
    if options[0] == "--device":
        assert words in refuses("predict", trained, photos, *options)
        assert words in refuses("evaluate", trained, photos, *options)


def test_commands_and_arguments_that_do_not_exist(refuses):
    assert "unknown command 'trian'; did you mean 'train'?" in refuses("trian", "digits")
    assert "DATA is missing" in refuses("train")
    assert "unexpected argument 'more'" in refuses("audit", "digits", "more")


# --- where results go ---------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_else(cli, refuses, photos, trained):
    assert cli("compare", photos, *COMPARE, "--out", "study").code == 0
    Path("foreign").mkdir()
    Path("foreign/thesis.txt").write_text("years of work")
    shutil.copytree(trained, "run")
    message = refuses("compare", photos, *COMPARE, "--lr", "0.5", "--out", "study")
    assert message == "study holds another comparison (other data or settings); choose another --out"
    message = refuses("train", photos, *QUICK, "--method", "ros", "--out", "run")
    assert message == "run holds another run (other data, method or settings); choose another --out"
    message = refuses("train", photos, *QUICK, "--out", "study")
    assert message == "study is not empty (best is in it) and holds no run; choose another --out"
    assert "run is not empty" in refuses("compare", photos, *COMPARE, "--out", "run")
    for command in (("compare", photos, *COMPARE), ("train", photos, *QUICK), ("demo", "--repeats", "1")):
        assert "foreign is not empty (thesis.txt is in it)" in refuses(*command, "--out", "foreign")


def test_a_folder_that_another_process_writes(refuses, photos, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr("counterpoise.runs.folder.SECONDS_TO_WAIT", 0)
    Path("held").mkdir()
    with FileLock("held/.lock"):
        for command in (("compare", photos, *COMPARE), ("train", photos, *QUICK)):
            message = refuses(*command, "--out", "held")
            assert message == "held is in use by another process; choose another --out"


def test_a_file_in_place_of_a_folder(refuses, photos, trained):
    Path("file").write_text("")
    for command in (("compare", photos, *COMPARE), ("train", photos, *QUICK)):
        assert "cannot use file: Not a directory" in refuses(*command, "--out", "file")
        assert "cannot write file/below: Not a directory" in refuses(*command, "--out", "file/below")
    assert "cannot write file/x.csv" in refuses("predict", trained, photos, "--out", "file/x.csv")
    assert "cannot write file/x.html" in refuses("report", trained, "--out", "file/x.html")


def failing(error):
    def call(*args, **kwargs):
        raise OSError(error, os.strerror(error))

    return call


def test_no_permission(refuses, photos, trained, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", failing(errno.EACCES))
    for command in (("compare", photos, *COMPARE), ("train", photos, *QUICK), ("predict", trained, photos)):
        message = refuses(*command, "--out", "locked/place")
        assert message.startswith("cannot write locked/place: Permission denied; choose another --out")


@pytest.mark.parametrize("command", ["compare", "train"])
def test_no_disk_space_for_the_first_file(refuses, photos, monkeypatch, command):
    monkeypatch.setattr(Path, "write_text", failing(errno.ENOSPC))
    options = COMPARE if command == "compare" else QUICK
    message = refuses(command, photos, *options, "--out", "full")
    assert "No space left on device; free some space or choose another --out" in message


def test_no_disk_space_in_the_middle(photos, trained, cli, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "none", str(small)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        result = cli("train", photos, *QUICK, "--out", small / "run")
        assert result.code == 2, result
        assert len(result.complaints) == 1
        assert "No space left on device" in result.err
        assert RunFolder(small / "run").status == "interrupted"
        result = cli("predict", trained, *[photos] * 40, "--out", small / "big.csv")
        assert (result.code, len(result.complaints)) == (2, 1)
        assert not list(small.glob("*big.csv*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


# --- training that fails ------------------------------------------------------------------------------------

DIVERGING = ("--lr", "1e4", "--optimizer", "sgd", "--schedule", "one-cycle", "--epochs", "8")


def test_a_loss_that_becomes_nan_stops_with_step_and_cause(cli, photos):
    result = cli(
        "train", photos, "--method", "bl", "--lr", "1e30", "--optimizer", "sgd", *QUICK, "--out", "run"
    )
    assert (result.code, result.out, len(result.complaints)) == (1, "", 1)
    assert "the train loss became nan at step 2 (epoch 1)" in result.err
    assert "--lr 1e+30 is probably too high" in result.err
    assert "unfinished run" in cli("predict", "run", photos).err


def test_the_last_good_checkpoint_is_kept(cli, photos):
    from safetensors.numpy import load_file

    options = ("--method", "bl", *DIVERGING, "--batch-size", "16", "--threads", "1", "--out", "run")
    result = cli("train", photos, *options)
    assert (result.code, len(result.complaints)) == (1, 1)
    (kept,) = Path("run/checkpoints").glob("*.safetensors")
    assert f"last good checkpoint: {kept}" in result.err
    tensors = load_file(kept)
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())


def test_a_comparison_goes_on_past_a_method_that_fails(cli, photos, monkeypatch):
    from counterpoise.exceptions import TrainingError
    from counterpoise.studies.engine import planned_runs as grid

    genuine = grid.execute_run

    def execute(plan, *args, **kwargs):
        if plan.method == "bl":
            raise TrainingError("the train loss became nan at step 3 (epoch 1): --lr is too high")
        return genuine(plan, *args, **kwargs)

    monkeypatch.setattr(grid, "execute_run", execute)
    result = cli("compare", photos, *COMPARE, "--out", "study")
    assert result.code == 1
    assert json.loads(Path("study/summary.json").read_text())["winner"] == "bl-cw"
    assert result.complaints == [
        "counterpoise: bl, repeat 0, failed: the train loss became nan at step 3 (epoch 1): --lr is too high"
    ]
    summary = json.loads(Path("study/summary.json").read_text())
    assert [(item["method"], item["draw"]) for item in summary["failed"]] == [("bl", 0)]
    assert Path("study/best/model.safetensors").exists()
    # The same command, once the cause is gone, adds what is missing.
    monkeypatch.setattr(grid, "execute_run", genuine)
    result = cli("compare", photos, *COMPARE, "--out", "study", "--json")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["failed"] == []


def test_a_comparison_in_which_all_fails(cli, photos):
    result = cli("compare", photos, *COMPARE, "--lr", "1e30", "--optimizer", "sgd", "--out", "study")
    assert result.code == 1
    assert "winner" not in result.out.replace("choose a winner", "")
    assert [line.split(",")[0] for line in result.complaints] == ["counterpoise: bl", "counterpoise: bl-cw"]
    assert not Path("study/best").exists()


# --- finished runs ------------------------------------------------------------------------------------------


def use(run, photos):
    return (("evaluate", run, photos), ("predict", run, photos), ("report", run))


def test_a_folder_that_is_no_run(refuses, photos):
    for command in use(photos, photos):
        assert "holds" in refuses(*command)
    for command in use("nowhere", photos):
        assert "nowhere" in refuses(*command)
    assert "holds no run.json; give a run folder, e.g. OUT/best" in refuses("predict", photos, photos)


def edited(folder, **changes):
    path = Path(folder, "run.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_unfinished_run(refuses, photos, trained):
    shutil.copytree(trained, "run")
    edited("run", status="running")
    for command in use("run", photos):
        assert "run holds an unfinished run; give" in refuses(*command)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "run.json"),
        ('{"status": "complete"}', "lacks"),
    ],
)
def test_a_damaged_record(refuses, photos, trained, content, words):
    shutil.copytree(trained, "run")
    Path("run/run.json").write_text(content)
    for command in use("run", photos):
        assert words in refuses(*command)
    assert "run" in refuses("train", photos, *QUICK, "--out", "run")


@pytest.mark.parametrize("part", ["network", "dataset"])
def test_a_record_without_what_a_model_needs(refuses, photos, trained, part):
    shutil.copytree(trained, "run")
    edited("run", **{part: {}})
    for command in use("run", photos)[:2]:
        assert "run/run.json is damaged: it lacks" in refuses(*command)


def test_damaged_or_missing_weights(refuses, photos, trained):
    shutil.copytree(trained, "run")
    weights = Path("run/model.safetensors")
    for content in (weights.read_bytes()[:500], b"nonsense", None):
        weights.unlink() if content is None else weights.write_bytes(content)
        for command in use("run", photos)[:2]:
            assert "cannot read the weights run/model.safetensors" in refuses(*command)


def test_weights_of_another_network(refuses, photos, trained):
    shutil.copytree(trained, "run")
    record = json.loads(Path("run/run.json").read_text())
    edited("run", network=record["network"] | {"num_classes": 7})
    assert "does not hold the" in refuses("predict", "run", photos)


def test_a_damaged_checkpoint(cli, refuses, photos, monkeypatch):
    options = ("--method", "bl", *DIVERGING, "--batch-size", "16", "--threads", "1", "--out", "run")
    assert cli("train", photos, *options).code == 1
    (kept,) = Path("run/checkpoints").glob("*.safetensors")
    kept.write_bytes(b"nonsense")
    message = refuses("train", photos, *options)
    assert f"{kept} is not a readable checkpoint" in message
    assert "delete it to start over" in message


def test_evaluating_other_classes_or_channels(cli, refuses, tmp_path, trained, pictures):
    cows = pictures(tmp_path / "cows", {"cow": 4, "dog": 4})
    message = refuses("evaluate", trained, cows)
    assert (
        "cows has a class 'cow' that the model was not trained on; its classes are cat, dog, owl" in message
    )
    coloured = pictures(tmp_path / "coloured", {"cat": 4, "dog": 4}, colour=True)
    result = cli("evaluate", trained, coloured)
    assert (result.code, len(result.complaints)) == (0, 1)
    assert "are in color, and become gray" in result.complaints[0]


def test_evaluating_where_nothing_was_kept_for_testing(cli, refuses, tmp_path, pictures):
    folder = pictures(tmp_path / "pairs", {"cat": 2, "dog": 2})
    result = cli("train", folder, *QUICK, "--out", "run")
    assert result.code == 0
    assert "too few images to keep any for testing" in result.out
    assert "run has no test images of pairs" in refuses("evaluate", "run", folder)


def test_the_split_of_another_data_set(cli, refuses, tmp_path, trained, pictures, photos):
    folder = pictures(tmp_path / "others", {"cat": 9, "dog": 9})
    for command in ("compare", "train"):
        message = refuses(command, folder, "--split-file", trained / "manifest.json")
        assert "this split was made for dataset 'my photos'" in message
    message = refuses("train", photos, "--split-file", trained / "run.json")
    assert "run.json is not a split manifest" in message
    for option in (("--ratio", "3"), ("--val-fraction", "0.2"), ("--minority-ratio", "3")):
        message = refuses("train", photos, "--split-file", trained / "manifest.json", *option)
        assert "--split-file gives the whole split; leave out" in message


def test_predicting_for_what_is_no_image(refuses, tmp_path, trained, photos):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("cats")
    assert "no images in" in refuses("predict", trained, tmp_path / "empty")
    assert "notes.txt is no image, folder or zip" in refuses("predict", trained, tmp_path / "notes.txt")
    assert "no such file or folder: 'nowhere'" in refuses("predict", trained, photos, "nowhere")
    assert "both want stdout" in refuses("predict", trained, photos, "--out", "-", "--json")


def test_a_failed_prediction_leaves_the_old_file_as_it_was(refuses, trained, photos, monkeypatch):
    Path("predictions.csv").write_text("from yesterday")
    monkeypatch.setattr("csv.writer", failing(errno.ENOSPC))
    assert "No space left on device" in refuses("predict", trained, photos, "--overwrite")


# --- interruptions and streams --------------------------------------------------------------------------------


def test_ctrl_c(cli, photos, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("counterpoise.training.execute_run", interrupt)
    result = cli("train", photos, *QUICK, "--out", "run")
    assert (result.code, result.out) == (130, "")
    assert result.complaints == ["counterpoise: interrupted; give the same command again to resume"]


def test_out_of_memory(cli, photos, monkeypatch):
    def fill(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr("counterpoise.training.execute_run", fill)
    result = cli("train", photos, *QUICK, "--out", "run")
    assert (result.code, len(result.complaints)) == (1, 1)
    assert "out of memory; try a smaller --batch-size" in result.err


def start(*arguments, **options):
    code = "import sys; from counterpoise.cli.main import main; sys.argv[0] = 'counterpoise'; main()"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def test_a_process_ends_with_one_line_and_code_2(tmp_path):
    process = start("train", "nowhere/pictures", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "counterpoise: no such file or folder: 'nowhere/pictures'\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_interrupted_process_goes_on_later(photos, tmp_path, cli):
    options = (
        "--method",
        "bl",
        "--epochs",
        "4000",
        "--batch-size",
        "16",
        "--threads",
        "1",
        "--out",
        tmp_path / "run",
    )
    process = start("train", photos, *options)
    for _ in range(600):
        if any(tmp_path.glob("run/checkpoints/*.safetensors")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "counterpoise: interrupted; give the same command again to resume\n"
    assert "unfinished run" in cli("predict", tmp_path / "run", photos).err


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    process = start("datasets", "--json", cwd=tmp_path)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
