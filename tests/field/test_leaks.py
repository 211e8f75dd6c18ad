"""Never score what was learned from: an image is recognized by its content, wherever it lies and whatever its name."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from counterpoise.cli.main import run as cli
from counterpoise.datasets import dataset_from_arrays, load_dataset, resize_dataset, scan_index, stores
from counterpoise.exceptions import DataError, RunFolderError
from counterpoise.files import read_json, write_json
from counterpoise.inference import adjust_run, evaluate_run, load_for_run, plan_adjustment
from counterpoise.runs import RunFolder

CLASSES, EACH = ("ant", "bee", "cow"), 40
TRAINING, VALIDATION, TEST = 3 * 29, 3 * 3, 3 * 8
LEARNED = TRAINING + VALIDATION
QUICK = ("--backbone", "tinynet", "--batch-size", "8", "--threads", "1", "--device", "cpu")


def noise(generator, *shape):
    return Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))


def write_noise(root, classes=CLASSES, each=EACH, seed=0):
    generator = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            noise(generator, 12, 12).save(root / name / f"{number}.png")
    return root


def train(data, out, *options):
    words = ["train", data, "--out", out, "--method", "bl", *QUICK, *options]
    return cli([str(word) for word in words])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images of pure noise, `noise`, and a run that knows its training images by heart, `r`."""
    home = tmp_path_factory.mktemp("home")
    write_noise(home / "noise")
    assert train(home / "noise", home / "r", "--epochs", "20", "--lr", "0.01") == 0
    return home


@pytest.fixture
def run(home):
    return RunFolder.open(home / "r")


def score(run, path, **options):
    return evaluate_run(run, load_for_run(run, path), device="cpu", **options)


def copy(home, tmp_path):
    return shutil.copytree(home / "noise", tmp_path / "noise_v2")


def packed(home, tmp_path):
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for file in sorted((home / "noise").rglob("*.png")):
            archive.write(file, file.relative_to(home))
    return tmp_path / "pack.zip"


def renamed_files(home, tmp_path):
    """Every image under a name that sorts elsewhere."""
    folder = copy(home, tmp_path)
    for file in list(folder.rglob("*.png")):
        file.rename(file.with_name(f"{97 * int(file.stem) % 41}-{file.name}"))
    return folder


def one_more(home, tmp_path):
    folder = copy(home, tmp_path)
    noise(np.random.default_rng(9), 12, 12).save(folder / "ant/new.png")
    return folder


def one_removed(home, tmp_path):
    folder = copy(home, tmp_path)
    (folder / learned_path(home)).unlink()
    return folder


def one_repainted(home, tmp_path):
    folder = copy(home, tmp_path)
    noise(np.random.default_rng(9), 12, 12).save(folder / learned_path(home))
    return folder


def swapped_classes(home, tmp_path):
    folder = copy(home, tmp_path)
    (folder / "ant").rename(folder / "x")
    (folder / "cow").rename(folder / "ant")
    (folder / "x").rename(folder / "cow")
    return folder


def below_train(home, tmp_path):
    shutil.copytree(home / "noise", tmp_path / "sets/train")
    return tmp_path / "sets"


def lossless(home, tmp_path):
    """The same pixels in another format."""
    folder = copy(home, tmp_path)
    for file in list(folder.rglob("*.png")):
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    return folder


def learned_path(home):
    manifest = read_json(home / "r/manifest.json")
    return load_dataset(home / "noise").train.paths[manifest["train"][0]]


def test_the_network_knows_its_training_images_by_heart(home, run):
    own, everything = score(run, home / "noise"), score(run, home / "noise", include_seen=True)
    assert (own.images, own.scores["n"]) == (f"the run's own {TEST} test images", TEST)
    assert everything.scores["n"] == 3 * EACH
    assert everything.seen == {"train": TRAINING, "validation": VALIDATION, "weights": 0}
    assert everything.scores["all"]["accuracy"] > own.scores["all"]["accuracy"] + 0.25


@pytest.mark.parametrize("variant", [copy, packed, renamed_files, below_train])
def test_a_data_set_in_another_place_gives_the_runs_own_test_images(home, run, tmp_path, variant):
    found = score(run, variant(home, tmp_path))
    assert found.images == f"the run's own {TEST} test images"
    assert found.scores == score(run, home / "noise").scores


@pytest.mark.parametrize(
    ("variant", "seen", "scored"),
    [
        (one_more, LEARNED, TEST + 1),
        (one_removed, LEARNED - 1, TEST),
        (one_repainted, LEARNED - 1, TEST + 1),
        (swapped_classes, LEARNED, TEST),
        (lossless, LEARNED, TEST),
    ],
)
def test_a_changed_copy_is_scored_without_what_was_learned_from(home, run, tmp_path, variant, seen, scored):
    found = score(run, variant(home, tmp_path))
    assert (sum(found.seen.values()), found.scores["n"]) == (seen, scored)
    assert found.seen["validation"] == VALIDATION
    assert found.scores["all"]["accuracy"] < 0.6


def test_a_subset_is_scored_without_what_was_learned_from(home, run, tmp_path):
    folder = copy(home, tmp_path)
    for file in folder.rglob("*[13579].png"):
        file.unlink()
    found = score(run, folder)
    assert sum(found.seen.values()) + found.scores["n"] == 60
    tested = set(load_dataset(home / "noise").train.subset(manifest(home)["test"]).paths)
    assert found.scores["n"] == sum((folder / name).exists() for name in tested)


def manifest(home):
    return read_json(home / "r/manifest.json")


def only_training_images(home, tmp_path):
    paths = load_dataset(home / "noise").train.subset(manifest(home)["train"]).paths
    for path in paths:
        target = tmp_path / "old" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(home / "noise" / path, target)
    return tmp_path / "old"


def test_the_command_says_what_it_leaves_out(home, tmp_path, capsys):
    folder, run = str(one_more(home, tmp_path)), str(home / "r")
    assert cli(["evaluate", run, folder]) == 0
    shown = capsys.readouterr()
    assert "bl on 25 of all 121 images of noise_v2" in shown.out
    assert "left out: 96 images that the model learned from (train 87, validation 9)" in shown.err
    assert len(shown.err.splitlines()) == 1
    assert cli(["evaluate", run, folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seen"] == {"train": TRAINING, "validation": VALIDATION, "weights": 0}
    assert (found["include_seen"], found["scores"]["n"]) == (False, TEST + 1)
    assert cli(["evaluate", run, folder, "--include-seen"]) == 0
    shown = capsys.readouterr()
    assert "bl on all 121 images" in shown.out
    assert "scored, too: 96 images" in shown.err


def test_nothing_remains(home, tmp_path, capsys):
    folder = only_training_images(home, tmp_path)
    assert cli(["evaluate", str(home / "r"), str(folder)]) == 2
    error = capsys.readouterr().err.strip()
    assert "learned from all 87 images; give others, or --include-seen" in error
    assert "\n" not in error


def test_predict_counts_training_images(home, tmp_path, capsys):
    folder = only_training_images(home, tmp_path)
    noise(np.random.default_rng(5), 12, 12).save(folder / "new.png")
    words = ["predict", str(home / "r"), str(folder), "--out", str(tmp_path / "p.csv"), "--overwrite"]
    assert cli(words) == 0
    assert "87 images that the model learned from (train 87)" in capsys.readouterr().err
    assert cli([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["seen"]["train"]) == (88, 87)


def test_a_run_of_an_earlier_version_is_recomputed_or_unknown(home, tmp_path, capsys):
    old = shutil.copytree(home / "r", tmp_path / "old-run")
    (old / "seen.safetensors").unlink()
    record = read_json(old / "run.json")
    del record["dataset"]["contents"]
    write_json(old / "run.json", record)
    run = RunFolder.open(old)
    found = score(run, home / "noise", include_seen=True)
    assert found.seen == {"train": TRAINING, "validation": VALIDATION, "weights": 0}
    assert score(run, home / "noise").scores["n"] == TEST
    assert cli(["evaluate", str(old), str(copy(home, tmp_path))]) == 0
    assert "does not tell which images it learned from" in capsys.readouterr().err


# --- weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["r", "r/model.safetensors"])
def test_weights_that_know_the_test_images_are_refused(home, tmp_path, weights, capsys):
    folder = copy(home, tmp_path)
    assert train(folder, tmp_path / "new", "--weights", home / weights, "--seed", "1", "--epochs", "1") == 2
    assert "learned from" in capsys.readouterr().err
    own = ("--split-file", home / "r/manifest.json")
    assert train(folder, tmp_path / "new", "--weights", home / weights, "--epochs", "1", *own) == 0
    new = RunFolder.open(tmp_path / "new")
    assert score(new, home / "noise").images == f"the run's own {TEST} test images"


@pytest.mark.parametrize("variant", [one_more, lossless, packed])
def test_weights_are_refused_on_a_changed_copy_too(home, tmp_path, variant, capsys):
    folder = variant(home, tmp_path)
    assert train(folder, tmp_path / "new", "--weights", home / "r", "--seed", "1", "--epochs", "1") == 2
    error = capsys.readouterr().err
    assert "of the test images of repeat 0" in error
    assert len(error.splitlines()) == 1


def test_what_weights_learned_from_is_inherited(home, tmp_path):
    other = write_noise(tmp_path / "other", each=10, seed=3)
    assert train(other, tmp_path / "new", "--weights", home / "r", "--epochs", "1") == 0
    found = score(RunFolder.open(tmp_path / "new"), home / "noise")
    assert found.seen == {"train": 0, "validation": 0, "weights": LEARNED}
    assert found.scores["n"] == TEST


def test_weights_of_an_earlier_version_leave_it_unknown(home, tmp_path, capsys):
    old = shutil.copytree(home / "r", tmp_path / "old-run")
    (old / "seen.safetensors").unlink()
    other = write_noise(tmp_path / "other", each=10, seed=3)
    assert train(other, tmp_path / "new", "--weights", old, "--epochs", "1") == 0
    assert "does not tell which images it learned from" in " ".join(capsys.readouterr().out.split())
    assert train(other, tmp_path / "newer", "--weights", tmp_path / "new", "--epochs", "1") == 0
    for run in ("new", "newer"):
        assert score(RunFolder.open(tmp_path / run), home / "noise").seen is None


# --- adjustment ---------------------------------------------------------------------------------------------


def test_adjusting_after_a_move_is_as_before(home, run, tmp_path):
    plan = {name: plan_adjustment(run, "class-thresholds", out=tmp_path / name) for name in ("here", "there")}
    here = adjust_run(plan["here"], load_for_run(run, home / "noise"), device="cpu")
    there = adjust_run(plan["there"], load_for_run(run, renamed_files(home, tmp_path)), device="cpu")
    assert (here.before, here.after) == (there.before, there.after)
    assert here.folder.record.raw["adjust"] == there.folder.record.raw["adjust"]
    assert score(there.folder, home / "noise").scores == there.after
    assert sum(score(there.folder, home / "noise", include_seen=True).seen.values()) == LEARNED


@pytest.mark.parametrize("variant", [one_repainted, one_removed, swapped_classes])
def test_adjusting_on_other_images_is_refused(home, run, tmp_path, variant):
    data = load_for_run(run, variant(home, tmp_path))
    with pytest.raises(DataError, match="does not hold the images of"):
        adjust_run(plan_adjustment(run, "class-thresholds", out=tmp_path / "a"), data, device="cpu")
    assert not (tmp_path / "a").exists()


# --- changed files ------------------------------------------------------------------------------------------


def write_bitmaps(root):
    generator = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(8):
            noise(generator, 96, 96, 3).save(root / name / f"{number}.bmp")
    return root


def change_the_middle(file):
    """Change bytes, with the size and the time of modification as before."""
    content, state = bytearray(file.read_bytes()), file.stat()
    content[18_000:20_000] = bytes(2_000)
    file.write_bytes(content)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture
def settled(monkeypatch, tmp_path):
    """An index of its own, that remembers new files, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scan_index, "_SETTLED_NS", 0)


def test_a_bitmap_changed_in_the_middle_is_noticed(settled, tmp_path, capsys):
    data, options = write_bitmaps(tmp_path / "bitmaps"), ("--image-size", "8", "--epochs", "1")
    assert train(data, tmp_path / "r", *options) == 0
    first, before = RunFolder.open(tmp_path / "r"), load_dataset(data)
    assert train(data, tmp_path / "r", *options) == 0
    assert RunFolder.open(tmp_path / "r").record.created == first.record.created
    for file in (data / "ant").iterdir():
        change_the_middle(file)
    after = load_dataset(data)
    assert after.fingerprint == before.fingerprint
    assert after.contents != before.contents
    assert score(first, data).images == "10 of all 16 images"
    assert train(data, tmp_path / "r", *options) == 0
    again = RunFolder.open(tmp_path / "r")
    assert again.record.config_hash == first.record.config_hash
    assert again.record.dataset.contents == load_dataset(data).contents
    assert (again.seen.keys["train"] != first.seen.keys["train"]).any()


def test_a_second_scan_reads_no_file_and_one_that_changed(settled, tmp_path, monkeypatch):
    data = write_bitmaps(tmp_path / "bitmaps")
    first, read = load_dataset(data, in_memory=False), []
    whole = stores.FolderStore.read
    monkeypatch.setattr(stores.FolderStore, "read", lambda *args: (read.append(args[1]), whole(*args))[1])
    second = load_dataset(data, in_memory=False)
    assert read == []
    assert (second.fingerprint, second.contents) == (first.fingerprint, first.contents)
    assert second.train.facts == first.train.facts
    change_the_middle(data / "bee/3.bmp")
    changed = load_dataset(data, in_memory=False).train.content_keys() != first.train.content_keys()
    assert read == ["bee/3.bmp"]
    assert changed.nonzero()[0].tolist() == [11]


@pytest.mark.parametrize("fault", ["no folder", "damaged", "of another kind"])
def test_an_index_that_cannot_be_used_costs_only_time(settled, tmp_path, fault):
    data = write_noise(tmp_path / "noise", each=3)
    expected, cache = load_dataset(data).contents, tmp_path / "cache"
    if fault == "no folder":
        shutil.rmtree(cache)
        cache.write_text("a file")
    elif fault == "damaged":
        (cache / "counterpoise/scan-index.sqlite").write_bytes(b"nothing" * 1000)
    else:
        shutil.rmtree(cache / "counterpoise")
        (cache / "counterpoise/scan-index.sqlite").mkdir(parents=True)
    assert load_dataset(data).contents == expected
    assert load_dataset(data).contents == expected


def test_a_damaged_record_is_named(home, tmp_path):
    broken = shutil.copytree(home / "r", tmp_path / "broken")
    (broken / "seen.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(RunFolderError, match=r"seen\.safetensors is damaged"):
        score(RunFolder.open(broken), home / "noise")


def test_arrays_are_recognized_at_another_size():
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 8, 8), dtype=np.uint8)
    data = dataset_from_arrays(images, np.arange(9) % 3)
    assert resize_dataset(data, (6, 6)).contents == data.contents


def test_the_best_run_of_a_comparison_tells_what_it_learned_from(home, tmp_path):
    words = ["compare", home / "noise", "--out", tmp_path / "c", "--methods", "bl", "--repeats", "1", *QUICK]
    assert cli([str(word) for word in (*words, "--epochs", "1", "--jobs", "1")]) == 0
    found = score(RunFolder.open(tmp_path / "c/best"), one_more(home, tmp_path))
    assert (sum(found.seen.values()), found.scores["n"]) == (LEARNED, TEST + 1)
