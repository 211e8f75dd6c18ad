"""Groups are proposed where names and pictures agree, and only there."""

import re
import shlex
import uuid

import numpy as np
import pytest
from group_pictures import crop_of, write_cases, write_unrelated

from counterpoise.datasets import group_images, load_dataset, propose_groups
from counterpoise.datasets.naming import case_names

IDS = [uuid.UUID(int=int(np.random.default_rng(i).integers(2**62)) << 66) for i in range(40)]
HABITS = {
    "patients": lambda label, case, image, rng: f"patient_{case + 20 * (label == 'dog'):02}_slice{image}",
    "frames": lambda label, case, image, rng: f"frame{case * 5 + image:04}",
    "numbers": lambda label, case, image, rng: f"IMG_{4211 + case + 20 * (label == 'dog')}_{image + 20}",
    "crops": lambda label, case, image, rng: f"{IDS[case + 20 * (label == 'dog')]}_crop{image}",
    "folders": lambda label, case, image, rng: f"case_{label}{case}/{image}",
    "letters": lambda label, case, image, rng: f"cell{case + 20 * (label == 'dog')}{'abcde'[image]}",
}


@pytest.mark.parametrize("habit", HABITS)
def test_the_groups_of_a_naming_habit_are_found(habit, tmp_path):
    copy = {"copy": crop_of} if habit == "crops" else {}
    data = load_dataset(write_cases(tmp_path / "set", HABITS[habit], **copy))
    found = propose_groups(data)
    assert found is not None
    assert (found.pattern == "sequence") == (habit == "frames")
    groups = group_images(data, found.pattern).train.groups
    expected = np.repeat(np.arange(24), 5)
    if habit == "folders":  # natural order of the folders' names, one after the other
        expected = np.unique([name.rpartition("/")[0] for name in case_names(data)], return_inverse=True)[1]
    pairs = {*zip(groups.tolist(), expected.tolist(), strict=True)}
    assert len(pairs) == len(set(groups.tolist())) == 24


@pytest.mark.parametrize(
    "name_of",
    [
        lambda number, rng: f"IMG_{number:04}",
        lambda number, rng: str(number),
        lambda number, rng: rng.bytes(6).hex(),
        lambda number, rng: f"{rng.bytes(2).hex()}-{rng.bytes(2).hex()}_{number}",
        lambda number, rng: f"photo_{number // 5}_{number % 5}",  # stems, but no look-alikes
    ],
    ids=["camera", "plain", "hex", "parts", "stems"],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_unrelated_pictures_are_not_grouped(name_of, seed, tmp_path):
    assert propose_groups(load_dataset(write_unrelated(tmp_path / "set", name_of, seed=seed))) is None


def test_a_patient_in_two_classes_is_one_group(tmp_path):
    """The pictures of a patient look alike in both classes."""
    rng = np.random.default_rng(0)
    from group_pictures import base_picture, noisy_copy, save

    for case in range(12):
        picture = base_picture(rng)
        for image in range(6):
            label = ("sick", "well")[image % 2]
            save(noisy_copy(picture, rng), tmp_path / "set" / label / f"p{case}-{image}.png")
    data = load_dataset(tmp_path / "set")
    found = propose_groups(data)
    groups = group_images(data, found.pattern).train.groups
    assert len(set(groups.tolist())) == 12
    assert set(groups[data.train.labels == 0]) == set(groups[data.train.labels == 1])


def test_numbers_that_start_again_in_each_class_are_other_groups(tmp_path):
    """Track 3 of one traffic sign is not track 3 of another."""
    data = load_dataset(
        write_cases(tmp_path / "set", lambda label, case, image, rng: f"{case:05}_{image:05}")
    )
    found = propose_groups(data)
    assert re.compile(found.pattern).search("cat/00003_00001")[1] == "cat/00003"
    assert len(set(group_images(data, found.pattern).train.groups.tolist())) == 24
    assert shlex.split(shlex.quote(found.pattern)) == [found.pattern]
