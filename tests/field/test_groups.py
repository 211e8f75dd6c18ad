"""Frames of one video, slices of one patient: images of a group on both sides of a split make scores too good."""

import json
import re

import numpy as np
import pytest
from group_pictures import base_picture, save, write_cases

from counterpoise.cli.main import run as main
from counterpoise.config import CompareConfig, FitConfig, RunSettings, TransferConfig
from counterpoise.datasets import (
    audit,
    dataset_from_arrays,
    load_dataset,
    make_folds,
    make_splits,
)
from counterpoise.exceptions import InputError
from counterpoise.methods import get_method
from counterpoise.studies import make_fit_plan, make_grid, make_transfer_plan
from counterpoise.training import Budget, prepare_run


def track(label, case, image, rng):
    return f"{case:05}_{image:05}"


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Two signs that differ little, 16 tracks each, 8 noisy frames of each track."""
    return write_cases(
        tmp_path_factory.mktemp("tracks") / "signs", track, classes=("stop", "yield"), cases=16, images=8
    )


def nearest_neighbor_accuracy(data, manifest):
    """A model that recognizes pictures it has seen, and nothing else."""
    splits = manifest.apply(data)
    train, test = (s.images.reshape(len(s), -1).astype(float) for s in (splits.train, splits.test))
    distance = (test**2).sum(1)[:, None] + (train**2).sum(1) - 2 * test @ train.T
    return (splits.train.labels[distance.argmin(1)] == splits.test.labels).mean()


def test_frames_of_a_track_flatter_a_random_split_and_not_a_grouped_one(tracks):
    data = load_dataset(tracks)
    grouped = load_dataset(tracks, group="(.*)_[0-9]+")
    random = [nearest_neighbor_accuracy(data, make_splits(data, random_state=r)) for r in range(5)]
    honest = [nearest_neighbor_accuracy(grouped, make_splits(grouped, random_state=r)) for r in range(5)]
    assert np.mean(random) > 0.97  # the base pictures say nothing of the class: chance is right
    assert np.mean(honest) < 0.75


def tangled(seed):
    """Patients of 1 to 9 images, in one class or in several, of three classes of very different sizes."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(120), rng.integers(1, 10, 120))
    favorite = rng.choice(3, 120, p=[0.7, 0.2, 0.1])
    stray = rng.random(len(groups)) < 0.15
    labels = np.where(stray, rng.choice(3, len(groups)), favorite[groups])
    pixels = rng.integers(0, 256, (len(groups), 4, 4), dtype=np.uint8)
    order = rng.permutation(len(groups))
    data = dataset_from_arrays(pixels[order], labels[order])
    object.__setattr__(data.train, "groups", groups[order])
    return data


@pytest.mark.parametrize("seed", range(8))
def test_a_patient_with_images_of_two_classes_is_not_torn_apart(seed):
    data = tangled(seed)
    groups, labels = data.train.groups, data.train.labels
    manifest = make_splits(data, validation_fraction=0.1, test_fraction=0.2, random_state=seed)
    parts = [set(groups[getattr(manifest, name)]) for name in ("train", "validation", "test")]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    # Shares are those of images, in each class, as near as whole patients allow.
    shares = np.array(manifest.counts["test"]) / np.bincount(labels)
    assert np.abs(shares - 0.2).max() < 0.06
    rest = np.bincount(labels) - manifest.counts["test"]
    assert np.abs(np.array(manifest.counts["validation"]) / rest - 0.1).max() < 0.06
    for row in make_folds(labels, groups, folds=5, repeats=2, random_state=seed):
        assert all(len(set(row[groups == group])) == 1 for group in set(groups))


def test_splits_of_many_seeds_differ():
    data = tangled(0)
    assert len({make_splits(data, random_state=seed).hash for seed in range(6)}) == 6


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(patient_.*)", "matches no file; expected a match in names such as 'stop/00000_00000'"),
        ("^(.)", "puts the images of each class into one group"),
        ("(0)", "puts all images into one group"),
        (r"(.*)_(\d+)", "has 2 capture groups; expected a column of the CSV, a regular expression"),
        ("patient", "has 0 capture groups"),
        ("(", "is no regular expression"),
    ],
)
def test_a_pattern_that_groups_nothing_is_one_line(tracks, group, message, capsys):
    with pytest.raises(InputError, match=re.escape(message)):
        load_dataset(tracks, group=group)
    assert main(["train", str(tracks), "--group", group, "--out", str(tracks.parent / "none")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "--group" in error
    assert len(error.splitlines()) == 1


def test_files_that_do_not_match_are_on_their_own_and_counted(tracks):
    data = load_dataset(tracks, group="(0000[0-7])_")
    assert any("128 of 256 images do not match `group`" in note for note in data.grouping.notes)
    assert len(set(data.train.groups[:128].tolist())) == 8 + 64


def test_groups_of_a_csv_column(tmp_path):
    rng, lines = np.random.default_rng(0), ["path,label,patient"]
    for number in range(24):
        save(base_picture(rng), tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},{f'p{number // 4}' if number < 20 else ''}")
    (tmp_path / "set.csv").write_text("\n".join(lines))
    groups = load_dataset(tmp_path / "set.csv", group="patient").train.groups
    assert groups.tolist() == [*np.repeat(range(5), 4), 5, 6, 7, 8]  # empty cells: on their own
    assert load_dataset(tmp_path / "set.csv").train.groups is None


def test_a_folder_for_each_case(tmp_path):
    data = load_dataset(
        write_cases(tmp_path / "set", lambda label, case, image, rng: f"case{case}/{image}", cases=4),
        group="(.*)/",
    )
    assert np.bincount(data.train.groups).tolist() == [5] * 8


def test_a_test_split_of_the_dataset_that_shares_groups_is_warned_of(tmp_path):
    rng = np.random.default_rng(0)
    for split, cases in (("train", range(6)), ("test", range(4, 8))):
        for label in ("a", "b"):
            for case in cases:
                for image in range(3):
                    name = f"{label}{case}_{split}{image}.png"
                    save(rng.integers(0, 256, (16, 16, 3)), tmp_path / "set" / split / label / name)
    data = load_dataset(tmp_path / "set", group=r"(.*)_")
    expected = "12 validation or test images are of one group with training images"
    settings = RunSettings.of(source=str(tmp_path / "set"), pretrained="none", validation_fraction=0.0)
    prepared = prepare_run(data, settings, [get_method("bl")])
    assert any(expected in note for note in prepared.notes)
    assert any(expected in note for note in audit(data).grouping)


def test_every_study_splits_by_groups_and_says_where_it_does_not(tracks, tmp_path):
    pattern = "(.*)_[0-9]+"
    for group in (pattern, "auto"):
        data = load_dataset(tracks, group=group)
        config = CompareConfig.of(source=str(tracks), methods="bl", pretrained="none", repeats=3)
        grid = make_grid(data, config)
        for plan in grid.plans():
            manifest = plan.split.splits(data, plan.config.seed)
            assert not set(data.train.groups[manifest.test]) & set(data.train.groups[manifest.train])
        assert any("32 groups of 2 to 8" in note for note in grid.notes)
    plain = make_grid(load_dataset(tracks), config)
    assert any("ungrouped, though 32 groups of files share a name and look alike" in n for n in plain.notes)
    assert plain.identity != grid.identity
    fit = FitConfig.of(source=str(tracks), methods="ncm", threads=1, image_size=96)
    _, plan = make_fit_plan(load_dataset(tracks, in_memory=False), fit, Budget(600))
    assert any("ungrouped, though 32 groups" in note for note in plan.grouping.notes)


def test_transfer_keeps_tracks_together_and_knows_it(tmp_path):
    root = write_cases(tmp_path / "signs", track, classes="abcd", cases=6, images=3)
    config = TransferConfig.of(source=str(root), backbone="lenet", layers="1", image_size=28)
    data = load_dataset(root, group="(.*)_", image_size=28)
    plan = make_transfer_plan(data, config)
    for task in "AB":
        images = plan.images(data, 0, task)
        assert not set(images.train.groups) & set(images.test.groups)
    assert plan.identity != make_transfer_plan(load_dataset(root, image_size=28), config).identity


def test_the_identity_of_runs_without_groups_is_as_before(tracks):
    data = load_dataset(tracks)
    config = RunSettings.of(source=str(tracks), pretrained="none")
    plan = prepare_run(data, config, [get_method("bl")]).plan
    assert "groups" not in plan.split.identity()
    grouped = prepare_run(load_dataset(tracks, group="(.*)_"), config, [get_method("bl")]).plan
    assert grouped.split.identity() == {**plan.split.identity(), "groups": grouped.split.groups}


def test_compare_names_the_proposal_in_terminal_summary_and_report(tracks, tmp_path, capsys):
    words = ["--methods", "bl", "--pretrained", "none", "--backbone", "lenet", "--image-size", "28"]
    words += ["--repeats", "1", "--epochs", "1", "--jobs", "1"]
    assert main(["compare", str(tracks), *words, "--out", str(tmp_path / "plain")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "ungrouped, though 32 groups of files share a name and look alike; --group '(.+)_\\d+$' keeps"
        in shown
    )
    summary = json.loads((tmp_path / "plain" / "summary.json").read_text())
    assert summary["grouping"]["group"] is None
    assert "ungrouped" in summary["grouping"]["notes"][0]
    assert "Ungrouped, though 32 groups" in (tmp_path / "plain" / "report.html").read_text()
    assert main(["compare", str(tracks), *words, "--group", "auto", "--out", str(tmp_path / "grouped")]) == 0
    summary = json.loads((tmp_path / "grouped" / "summary.json").read_text())
    assert summary["grouping"]["group"] == "(.+)_\\d+$"
    assert not any("ungrouped" in note for note in summary["grouping"]["notes"])


def test_audit_prints_the_pattern_to_type(tracks, capsys):
    assert main(["audit", str(tracks)]) == 0
    assert "--group '(.+)_\\d+$' --out" in capsys.readouterr().out
    assert main(["audit", str(tracks), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proposed_group"]["pattern"] == "(.+)_\\d+$"
