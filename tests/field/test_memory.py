"""Memory: its end is reported as such, never as a damaged image, and predictions go on with smaller batches."""

import numpy as np
import pytest
import torch
from datasets_helpers import make_folder, two_classes
from PIL import Image, ImageFile

from counterpoise.cli.main import run
from counterpoise.datasets import ImageSplit
from counterpoise.datasets.decoding import decode_image, read_header
from counterpoise.exceptions import is_out_of_memory
from counterpoise.networks import create_network
from counterpoise.studies.engine.tasks import Failure
from counterpoise.training import initialization, predict_logits
from counterpoise.training import prediction_batches as batches

CPU = torch.device("cpu")
QUICK = ("--epochs", "1", "--batch-size", "4", "--threads", "1", "--device", "cpu")


def no_memory(*_, **__):
    raise MemoryError


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("photos"), *two_classes(6))


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    assert run(["train", str(photos), "--method", "bl", "--out", str(out), *QUICK]) == 0
    return out


def test_a_decoder_without_memory_is_not_a_damaged_image(photos, monkeypatch):
    path = next(photos.rglob("*.png"))
    monkeypatch.setattr(ImageFile.ImageFile, "load", no_memory)
    with pytest.raises(MemoryError):
        decode_image(path, 3)
    monkeypatch.setattr(Image, "open", no_memory)
    with path.open("rb") as file, pytest.raises(MemoryError):
        read_header(file)


@pytest.mark.parametrize("command", ["audit", "predict", "evaluate"])
def test_commands_say_out_of_memory(command, photos, trained, monkeypatch, capsys, tmp_path):
    arguments = {
        "audit": [photos],
        "evaluate": [trained, photos],
        "predict": [trained, photos, "--out", tmp_path / "p.csv"],
    }
    monkeypatch.setattr(ImageFile.ImageFile, "load", no_memory)
    monkeypatch.setattr(Image, "open", no_memory)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is known of the files
    assert run([command, *map(str, arguments[command])]) == 1
    assert "out of memory" in capsys.readouterr().err


def test_the_end_of_memory_as_this_system_reports_it():
    errors = []
    for allocate in (lambda: torch.empty(1 << 52), lambda: np.empty(1 << 52), lambda: bytearray(1 << 52)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        errors.append(caught.value)
    assert all(map(is_out_of_memory, errors))
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(OSError(28, "No space left on device"))
    for error in errors:
        assert Failure.from_error(error, 1.0).text.startswith("out of memory; try a smaller `batch_size`")


def test_a_study_reports_out_of_memory(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("counterpoise.training.loop.train_stage", no_memory)
    monkeypatch.setattr("counterpoise.training.method_stages.train_stage", no_memory)
    out = tmp_path / "study"
    assert (
        run(
            [
                "compare",
                str(photos),
                "--methods",
                "bl",
                "--repeats",
                "1",
                "--jobs",
                "1",
                "--out",
                str(out),
                *QUICK,
            ]
        )
        == 1
    )
    assert "out of memory; try a smaller --batch-size" in " ".join(capsys.readouterr().err.split())


def photographs(count, size):
    images = np.random.default_rng(0).integers(0, 256, (count, 3, size, size)).astype(np.uint8)
    return ImageSplit(images, np.arange(count) % 3, tuple(map(str, range(count))))


def network_of(size):
    return create_network("convnet", num_classes=3, in_channels=3, image_size=(size, size), seed=0)


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_prediction_takes_halves_where_memory_ends(size, error, monkeypatch):
    network, split, seen = network_of(size), photographs(21, size), []
    expected = predict_logits(network, split, device=CPU)
    whole = network.forward

    def limited(images):
        if len(images) > 3:
            raise error
        seen.append(len(images))
        return whole(images)

    monkeypatch.setattr(network, "forward", limited)
    np.testing.assert_allclose(predict_logits(network, split, device=CPU), expected, rtol=1e-4, atol=1e-5)
    assert sum(seen) == 21
    assert max(seen) <= 3


def test_an_error_of_another_kind_is_raised_at_once(monkeypatch):
    calls = []

    def broken(images):
        calls.append(len(images))
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        batches.within_memory(broken, torch.zeros(8, 1))
    assert calls == [8]


def test_batches_are_bounded_by_pixels_and_those_of_small_images_are_as_ever():
    sizes = (28, 32, 47, 111)
    assert [batches.prediction_batch((s, s), batches.BATCH_SIZE) for s in sizes] == [512] * 4
    for size in (224, 512, 2048):
        batch = batches.prediction_batch((size, size), batches.BATCH_SIZE)
        assert batch == 1 or batch * size * size <= 128 * 224 * 224
    assert batches.prediction_batch((28, 28), batches.BATCH_SIZE, 5) == 5


def test_cores_share_the_free_memory(monkeypatch):
    monkeypatch.setattr(batches, "free_bytes", lambda device: 2e9)
    assert batches.prediction_workers((224, 224), 8, 64) == 4
    assert batches.prediction_workers((4000, 4000), 1, 64) == 1
    assert batches.prediction_workers((48, 48), 8, 4) == 4


@pytest.mark.parametrize("command", ["evaluate", "predict", "explain", "adjust"])
def test_batch_size_is_accepted_where_a_model_is_applied(command, photos, trained, monkeypatch, tmp_path):
    from counterpoise.networks import Network

    sizes, embed = [], Network.embed
    monkeypatch.setattr(Network, "embed", lambda self, x: (sizes.append(len(x)), embed(self, x))[1])
    data = photos if command in ("evaluate", "adjust") else photos / "cat"
    out = [] if command == "evaluate" else ["--out", str(tmp_path / "out")]
    more = ["--include-seen"] if command == "evaluate" else []
    assert run([command, str(trained), str(data), *out, *more, "--device", "cpu", "--batch-size", "2"]) == 0
    assert sizes
    assert max(sizes) <= 2


def test_normalization_of_many_large_images_takes_little_memory(monkeypatch):
    split = photographs(150, 40)
    expected = initialization.pixel_statistics(split)
    monkeypatch.setattr(initialization, "_FEW_VALUES", 0)
    np.testing.assert_allclose(initialization.pixel_statistics(split), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "content",
    [
        {1: torch.zeros(2)},
        {"backbone.a": torch.zeros(2), 3: torch.zeros(2)},
        {"backbone.a": torch.zeros(2).to_sparse()},
        {"backbone.a": torch.zeros(2, dtype=torch.complex64)},
        {"backbone.a": torch.empty(2, device="meta")},
    ],
    ids=["number as name", "names of both kinds", "sparse", "complex", "without values"],
)
def test_weights_of_other_kinds_are_refused_in_one_line(content, photos, tmp_path, capsys):
    torch.save(content, tmp_path / "w.pth")
    words = ["train", str(photos), "--weights", str(tmp_path / "w.pth"), "--out", str(tmp_path / "o"), *QUICK]
    assert run(words) == 2
    *notes, said = capsys.readouterr().err.splitlines()
    assert said.startswith("counterpoise: weights ")
    assert all("sparse tensor invariants" in note for note in notes)  # a warning of torch
