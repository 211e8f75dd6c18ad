"""Built-in datasets, read from small files in the published formats, and from real ones if at hand."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from datasets_helpers import REAL_DATA, encoded, picture, write_idx

from counterpoise.datasets import (
    DATASETS,
    DatasetRecord,
    load_dataset,
    make_splits,
    resolve_data_dir,
)
from counterpoise.datasets.builtin import open_torchvision
from counterpoise.datasets.photographs import REGIONS
from counterpoise.exceptions import DataError


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_records_are_those_promised():
    names = "cifar10 cifar100 digits fashion-mnist gtsrb mnist mnist-rb photographs stl10 svhn"
    assert DATASETS.names == tuple(names.split())
    for record in DATASETS:
        assert record.title
        assert record.source
        assert len(record.classes) in (0, record.num_classes)
        assert record.where


def test_digits_are_spread_over_all_gray_levels():
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    raw = load_digits()
    assert np.array_equal(data.train.images[:, 0], np.rint(raw.images / 16 * 255))
    assert np.array_equal(data.train.labels, raw.target)
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    assert len(data.train) == DATASETS["digits"].train_size
    assert data.test is None
    assert load_dataset("digits", image_size=16).train.images.shape == (1797, 1, 16, 16)


def test_photographs_are_crops_of_regions_apart():
    """Every image is a part of its region, enlarged; training and test regions of a class do not overlap."""
    from sklearn.datasets import load_sample_images

    data, record = load_dataset("photographs"), DATASETS["photographs"]
    assert (len(data.train), len(data.test)) == (record.train_size, record.test_size)
    assert data.train.class_counts(5).tolist() == [count for _, count, _, _ in REGIONS.values()]
    again = load_dataset("photographs")
    np.testing.assert_array_equal(data.train.images, again.train.images)
    pixels = load_sample_images().images
    for label, (number, _, train, test) in enumerate(REGIONS.values()):
        for split, (top, left, bottom, right) in ((data.train, train), (data.test, test)):
            region = pixels[number][top:bottom, left:right]
            own = split.images[split.labels == label]
            # Bilinear enlarging averages neighbors: no value is beyond those of the region.
            assert (own.min(axis=(0, 2, 3)) >= region.min(axis=(0, 1))).all()
            assert (own.max(axis=(0, 2, 3)) <= region.max(axis=(0, 1))).all()
        apart = train[2] <= test[0] or test[2] <= train[0] or train[3] <= test[1] or test[3] <= train[1]
        assert apart


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist_format(tmp_path, name, folder):
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20) % 10
    write_idx(tmp_path / folder / "raw", images, labels)
    data = load_dataset(name, data_dir=tmp_path)
    assert np.array_equal(data.train.images[:, 0], images)
    assert data.train.labels.tolist() == labels.tolist()
    assert data.test is not None
    assert data.test.paths[3] == f"{name}/test/00003"
    assert data.classes[0] == ("0" if name == "mnist" else "T-shirt/top")


def test_data_folder_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNTERPOISE_DATA", str(tmp_path))
    assert resolve_data_dir() == tmp_path
    assert resolve_data_dir("x") == Path("x")
    monkeypatch.delenv("COUNTERPOISE_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert resolve_data_dir() == Path.home() / ".cache/counterpoise"


@pytest.mark.parametrize("name", sorted(set(DATASETS.names) - {"digits", "photographs"}))
def test_missing_files_without_a_network(tmp_path, no_network, name, capsys):
    with pytest.raises(
        DataError, match=r"could not be downloaded \(.*\); put .* there, or point `data_dir`"
    ) as e:
        load_dataset(name, data_dir=tmp_path / "sets")
    assert DATASETS[name].where in str(e.value)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "sets").exists()  # nothing half-made is left
    assert capsys.readouterr().out == ""


def test_data_folder_that_cannot_be_made(tmp_path, no_network):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be downloaded"):
        load_dataset("svhn", data_dir=tmp_path / "file/sets")


def test_download_is_moved_into_place_only_when_whole(tmp_path, monkeypatch):
    import torchvision.datasets

    class Fake:
        broken = True

        def __init__(self, root: str, download: bool, train: bool) -> None:
            path = Path(root) / "fake/data.bin"
            if download:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(b"half" if self.broken else b"whole")
                if self.broken:
                    raise OSError("connection lost")
            if not path.exists():
                raise RuntimeError("Dataset not found")
            self.content = path.read_bytes()

    monkeypatch.setattr(torchvision.datasets, "Fake", Fake, raising=False)
    (tmp_path / "other").write_text("kept")
    with pytest.raises(DataError, match="connection lost"):
        open_torchvision("Fake", tmp_path, "fake/data.bin", train=True)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    Fake.broken = False
    assert open_torchvision("Fake", tmp_path, "fake/data.bin", train=True).content == b"whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fake", "other"]


@pytest.mark.parametrize(("name", "fine"), [("cifar10", False), ("cifar100", True)])
def test_cifar_format(tmp_path, monkeypatch, name, fine):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    rng = np.random.default_rng(0)
    folder = tmp_path / ("cifar-100-python" if fine else "cifar-10-batches-py")
    folder.mkdir()
    key = "fine_label_names" if fine else "label_names"
    (folder / ("meta" if fine else "batches.meta")).write_bytes(pickle.dumps({key: ["apple", "boat", "cup"]}))
    content = {}
    for batch in ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        content[batch] = rng.integers(0, 256, (3, 3072), dtype=np.uint8)
        labels = {"fine_labels" if fine else "labels": [0, 1, 2]}
        (folder / batch).write_bytes(pickle.dumps({"data": content[batch], **labels}))
    data = load_dataset(name, data_dir=tmp_path)
    assert data.classes == ("apple", "boat", "cup")
    first = "train" if fine else "data_batch_1"
    assert np.array_equal(data.train.images[:3], content[first].reshape(3, 3, 32, 32))
    assert data.train.labels.tolist() == [0, 1, 2] * (1 if fine else 5)
    assert data.test is not None
    assert data.test.images.shape == (3, 3, 32, 32)


def test_svhn_format(tmp_path, monkeypatch):
    from scipy.io import savemat

    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *args: True)
    monkeypatch.setattr("torchvision.datasets.SVHN._check_integrity", lambda self: True)
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": np.arange(1, 11)[:, None]})
    data = load_dataset("svhn", data_dir=tmp_path)
    assert np.array_equal(data.train.images, images.transpose(3, 2, 0, 1))
    assert data.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]  # the file calls zero ten
    assert data.classes == tuple("0123456789")


def test_stl10_format(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.STL10._check_integrity", lambda self: True)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    stored = np.random.default_rng(0).integers(0, 256, (4, 3, 96, 96), dtype=np.uint8)
    (folder / "class_names.txt").write_text("bird\ncar\n")
    for split in ("train", "test"):
        (folder / f"{split}_X.bin").write_bytes(stored.tobytes())
        (folder / f"{split}_y.bin").write_bytes(bytes([1, 2, 1, 2]))
    data = load_dataset("stl10", data_dir=tmp_path)
    assert data.classes == ("bird", "car")
    assert np.array_equal(data.train.images, stored.transpose(0, 1, 3, 2))  # stored column by column
    assert data.train.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("in_memory", [True, False])
def test_gtsrb_format(tmp_path, in_memory):
    base = tmp_path / "gtsrb"
    rows = ["Filename;Width;Height;ClassId"]
    for label in range(43):
        for track in range(2):
            for shot in range(3):
                path = base / f"GTSRB/Training/{label:05d}/{track:05d}_{shot:05d}.ppm"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(picture(label, (20 + shot, 30)), "PPM"))
        path = base / f"GTSRB/Final_Test/Images/{label:05d}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(label, (40, 40)), "PPM"))
        rows.append(f"{label:05d}.ppm;40;40;{label}")
    (base / "GT-final_test.csv").write_text("\n".join(rows))
    data = load_dataset("gtsrb", data_dir=tmp_path, in_memory=in_memory)
    assert len(data.classes) == len(set(data.classes)) == 43
    assert data.classes[14] == "stop"
    assert data.train.class_counts(43).tolist() == [6] * 43
    assert data.train.images[0].shape == (3, 32, 32)
    manifest = make_splits(data, validation_fraction=0.5)
    assert data.train.groups is not None
    assert not set(data.train.groups[manifest.train]) & set(data.train.groups[manifest.validation])
    (base / "GTSRB/Training/00000/00000_00000.ppm").write_bytes(b"")
    spoiled = load_dataset("gtsrb", data_dir=tmp_path, in_memory=in_memory)
    assert [item.path for item in spoiled.skipped] == ["gtsrb/GTSRB/Training/00000/00000_00000.ppm"]
    with pytest.raises(DataError, match=r"00000_00000\.ppm: empty file"):
        load_dataset("gtsrb", data_dir=tmp_path, strict=True)


@pytest.mark.parametrize("layout", ["gray", "color", "channels first"])
def test_torchvision_arrays_need_a_record_only(tmp_path, monkeypatch, layout):
    """Classes of torchvision differ in the order of axes and in the names of options and attributes."""
    import torchvision.datasets

    pixels = np.random.default_rng(0).integers(
        0, 256, (4, 1 if layout == "gray" else 3, 5, 6), dtype=np.uint8
    )
    stored = {"gray": pixels[:, 0], "color": pixels.transpose(0, 2, 3, 1), "channels first": pixels}[layout]

    class ByFlag:
        classes = ("no", "yes")

        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            self.data, self.targets = stored[: None if train else 2], [0, 1, 1, 0][: None if train else 2]

    class BySplit:
        def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
            count = {"train": None, "test": 2}[split]
            self.data, self.labels = stored[:count], np.array([0, 1, 1, 0])[:count]

    kind = BySplit if layout == "channels first" else ByFlag
    monkeypatch.setattr(torchvision.datasets, "Mushrooms", kind, raising=False)
    record = DatasetRecord(
        name="mushrooms",
        num_classes=2,
        channels=pixels.shape[1],
        image_size=(5, 6),
        train_size=4,
        test_size=2,
        where="mushrooms/",
        classes=("no", "yes") if kind is BySplit else (),
        torchvision="Mushrooms",
    )
    data = record.build(tmp_path)
    assert (data.name, data.classes, data.image_size) == ("mushrooms", ("no", "yes"), (5, 6))
    assert np.array_equal(data.train.images, pixels)
    assert data.train.labels.tolist() == [0, 1, 1, 0]
    assert data.test is not None
    assert (len(data.test), data.test.paths[1]) == (2, "mushrooms/test/00001")


def test_other_packages_add_datasets(tmp_path):
    (tmp_path / "fungi.py").write_text(
        """
import numpy as np
from counterpoise.datasets import DatasetRecord, dataset_from_arrays

record = DatasetRecord(
    name="fungi", target="fungi:build", num_classes=2, channels=1, image_size=(4, 4), train_size=6, test_size=0,
    where="nothing",
)

def build(record, data_dir):
    return dataset_from_arrays(np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2, name=record.name)
"""
    )
    (tmp_path / "fungi-1.dist-info").mkdir()
    (tmp_path / "fungi-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: fungi\nVersion: 1\n")
    entry_points = "[counterpoise.datasets]\nfungi = fungi:record\n"
    (tmp_path / "fungi-1.dist-info/entry_points.txt").write_text(entry_points)
    code = (
        "from counterpoise.datasets import load_dataset; print(load_dataset('fungi').train.labels.tolist())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[0, 1, 0, 1, 0, 1]\n"


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_real_mnists(name, folder):
    if not (REAL_DATA / folder / "raw").exists():
        pytest.skip(f"needs ../shared/data/{folder}/raw")
    data = load_dataset(name, data_dir=REAL_DATA)
    record = DATASETS[name]
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (record.train_size, record.test_size)
    assert data.test.class_counts(10).sum() == 10000
    manifest = make_splits(data)
    assert len(manifest.train) + len(manifest.validation) == 60000


def test_importing_datasets_stays_light():
    """The command line imports this room to list what there is."""
    heavy = "{'torch', 'torchvision', 'sklearn', 'scipy', 'pandas', 'PIL'}"
    code = f"import sys, counterpoise.datasets; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)
