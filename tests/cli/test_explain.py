"""``counterpoise explain``: what it writes is what the model does, checked by other means."""

import csv
import errno
import gc
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution, LayerGradCam
from PIL import Image
from scipy.stats import spearmanr

from counterpoise.explain.grad_cam import GradCAM
from counterpoise.explain.scores import score_maps
from counterpoise.files import write_text
from counterpoise.inference import explain as pictures_module
from counterpoise.inference import explain_images, load_network
from counterpoise.networks import create_network, save_network
from counterpoise.report.kit.pictures import overlay
from counterpoise.runs import RunFolder

QUICK = ("--epochs", "2", "--batch-size", "16", "--threads", "1")


def pixels_of(record):
    return np.array(Image.open(record["path"]))[None]


def network_of(run):
    return load_network(RunFolder.open(run))


def captum_map(network, record, target):
    image = torch.from_numpy(pixels_of(record))[None] / 255
    # The ReLU of the last convolution: its pooling comes after it.
    before_pooling = network.get_submodule("backbone.1.2")
    found = LayerGradCam(network, before_pooling).attribute(image, target, relu_attributions=True)
    return LayerAttribution.interpolate(found, image.shape[2:], "bilinear")[0, 0].detach().numpy()


@pytest.fixture(autouse=True)
def _no_drawing(request, monkeypatch):
    """Drawing takes most of the time, and has tests of its own."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(pictures_module, "explanation_figure", lambda *_, **__: None)
        monkeypatch.setattr(pictures_module, "feature_map_figure", lambda *_, **__: None)
        monkeypatch.setattr(pictures_module, "save_figure", lambda _, path: write_text(path, ""))


@pytest.fixture
def drawn():
    """Has the figures drawn."""


@pytest.fixture(scope="session")
def second(photos, tmp_path_factory):
    """Another run on the photos, of which the logits are changed after training."""
    from counterpoise.cli.main import run

    folder = tmp_path_factory.mktemp("runs") / "second"
    options = ("--method", "logit-adjusted", "--seed", "3", "--out", str(folder), *QUICK)
    assert run(["train", str(photos), *options]) == 0
    return folder


@pytest.fixture
def explained(cli, photos, trained):
    """Function that explains the test photos with more options and returns the JSON."""

    def call(*options, run=trained, images=photos / "test"):
        result = cli("explain", run, images, "--out", "out", "--json", *options)
        assert (result.code, result.err) == (0, ""), result
        return json.loads(result.out)

    return call


# --- one model ----------------------------------------------------------------------------------------------


def test_predictions_are_those_of_predict(explained, cli, photos, second):
    found = explained(run=second)
    assert cli("predict", second, photos / "test", "--out", "p.csv").code == 0
    with Path("p.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert [record["path"] for record in found["images"]] == list(rows)
    for record in found["images"]:
        (view,), row = record["views"], rows[record["path"]]
        assert view["predicted"] == view["target"] == row["predicted"]
        assert view["probability"] == pytest.approx(float(row[row["predicted"]]), abs=1e-5)
        assert record["true"] == Path(record["path"]).parent.name
    page = Path("out/explain.html").read_text()
    assert "adjusts the logits after training" in page
    assert "adjusts" not in Path(explained()["page"]).read_text()


def test_the_pictures_are_the_maps_of_captum(explained, trained):
    found = explained()
    network = network_of(trained)
    classes = ["cat", "dog", "owl"]
    assert found["models"][0]["layer"] == "backbone.1.2"
    assert found["models"][0]["places"] == [4, 4]
    assert not found["models"][0]["bypassed"]
    assert "features from other layers" not in Path("out/explain.html").read_text()
    for record in found["images"][::5]:
        map = captum_map(network, record, classes.index(record["views"][0]["target"]))
        painted = np.asarray(Image.open(Path("out", record["views"][0]["overlay"]))).astype(int)
        expected = overlay(pixels_of(record), map).astype(int)
        assert np.abs(painted - expected).max() <= 1
        assert record["views"][0]["blank"] == (not map.any())
        shown = np.asarray(Image.open(Path("out", record["input"])))
        assert np.array_equal(shown, np.stack([pixels_of(record)[0]] * 3, axis=2))


def test_maps_are_of_the_pixels_that_the_model_receives(cli, photos, tmp_path):
    """A wide image that is padded, stretched or cropped: the picture shown, predicted and explained is the same."""
    pixels = np.random.default_rng(4).integers(0, 256, (10, 24)).astype(np.uint8)
    pixels[:, 16:] //= 4
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    received = []
    for fit in ("pad", "stretch", "crop"):
        run = tmp_path / fit
        options = ("--image-size", "8", "--fit", fit, "--out", run, *QUICK)
        assert cli("train", photos, *options).code == 0
        network = network_of(run)
        result = cli("explain", run, tmp_path / "wide.png", "--out", "out", "--json")
        (record,) = json.loads(result.out)["images"]
        (view,) = record["views"]
        shown = np.asarray(Image.open(Path("out", record["input"])))[..., 0]
        image = torch.from_numpy(shown)[None, None] / 255
        with torch.no_grad():
            probability = network(image).softmax(dim=1).max().item()
        assert view["probability"] == pytest.approx(probability, abs=1e-5)
        assert cli("predict", run, tmp_path / "wide.png", "--out", f"{fit}.csv").code == 0
        with Path(f"{fit}.csv").open(newline="") as file:
            assert float(next(csv.DictReader(file))["confidence"]) == pytest.approx(probability, abs=1e-5)
        Image.fromarray(shown).save(tmp_path / "received.png")
        target = ["cat", "dog", "owl"].index(view["target"])
        map = captum_map(network, {"path": tmp_path / "received.png"}, target)
        painted = np.asarray(Image.open(Path("out", view["overlay"]))).astype(int)
        assert np.abs(painted - overlay(shown[None], map)).max() <= 1
        received.append(shown)
    assert all((a != b).any() for a, b in zip(received, [*received[1:], received[0]], strict=True))


def test_features_beside_the_layer_are_named_on_the_page(cli, tmp_path, pictures):
    """A head on features of several stages: its maps are those of the last convolution alone."""
    data = pictures(tmp_path / "data", {"cat": 12, "dog": 12}, size=40, colour=True)
    network = create_network(
        "test_resnet", num_classes=2, in_channels=3, image_size=(40, 40), seed=0, features="multi"
    )
    assert cli("train", data, "--backbone", "lenet", "--image-size", "40", *QUICK, "--out", "run").code == 0
    record = json.loads(Path("run/run.json").read_text())
    save_network(network, "run/model.safetensors")
    Path("run/run.json").write_text(json.dumps(record | {"network": network.config}))
    found = json.loads(cli("explain", "run", data / "cat", "--out", "out", "--json").out)["models"][0]
    assert (found["layer"], found["bypassed"]) == ("backbone.layer4", True)
    assert "the prediction also rests on features from other layers" in Path("out/explain.html").read_text()


def test_what_is_written_and_where(cli, photos, trained, drawn):
    run = shutil.copytree(trained, "my run")
    result = cli("explain", run, photos / "test/owl", photos / "test/cat/0.png")
    assert (result.code, result.err) == (0, "")
    assert "images: 6, explained by Grad-CAM" in result.out
    assert "page: my run/explain/explain.html" in result.out
    folder = Path("my run/explain")
    assert sorted(p.name for p in folder.iterdir()) == ["explain.html", "explain.json", "images", "parts"]
    record = json.loads((folder / "explain.json").read_text())["images"][-1]
    assert record["figure"] == "images/00006-0.png"
    with Image.open(folder / record["figure"]) as figure:
        assert figure.width > 2 * 250
    assert len(list((folder / "images").iterdir())) == 6
    # The run is still a run.
    assert cli("report", run).code == 0
    assert cli("evaluate", run, photos).code == 0


def test_right_ones_are_counted(explained, cli, photos, trained):
    found = explained()
    right = sum(record["views"][0]["predicted"] == record["true"] for record in found["images"])
    out = cli("explain", trained, photos / "test", "--out", "out").out
    assert f"right: {right} of the 19 whose folder names their class" in out
    shutil.copytree(photos / "test/owl", "unsorted")
    assert "right" not in cli("explain", trained, "unsorted", "--out", "out").out


def test_a_class_to_explain(explained, trained):
    found = explained("--target-class", "owl")
    network = network_of(trained)
    for record in found["images"][::6]:
        (view,) = record["views"]
        assert view["target"] == "owl"
        image = torch.from_numpy(pixels_of(record))[None] / 255
        with torch.no_grad():
            probability = network(image).softmax(dim=1)[0, 2].item()
        assert view["target_probability"] == pytest.approx(probability, abs=1e-5)
        painted = np.asarray(Image.open(Path("out", view["overlay"]))).astype(int)
        assert np.abs(painted - overlay(pixels_of(record), captum_map(network, record, 2))).max() <= 1


@pytest.mark.parametrize(
    "options",
    [("--method", "lime"), ("--method", "occlusion"), ("--layer", "backbone.0"), ("--target-class", "dog")],
)
def test_an_option_changes_the_pictures(explained, photos, options):
    images = photos / "test/cat"
    record = explained(images=images)["images"][0]
    plain = Path("out", record["views"][0]["overlay"]).read_bytes()
    assert (
        Path("out", explained(*options, images=images)["images"][0]["views"][0]["overlay"]).read_bytes()
        != plain
    )


def test_scores_are_those_of_the_maps(explained, trained, photos):
    found = explained("--map-scores", images=photos / "test/dog")
    network = network_of(trained)
    images = torch.from_numpy(np.stack([pixels_of(record) for record in found["images"]])) / 255
    targets = network(images).argmax(dim=1)
    expected = score_maps(network, images, GradCAM(network).explain(images, targets), targets)
    views = [record["views"][0] for record in found["images"]]
    np.testing.assert_allclose([view["deletion"] for view in views], expected.deletion, atol=1e-4)
    np.testing.assert_allclose([view["insertion"] for view in views], expected.insertion, atol=1e-4)
    page = Path("out/explain.html").read_text()
    assert f">{expected.deletion.mean():.3f}<" in page
    assert f">{found['models'][0]['random_insertion']:.3f}<" in page
    assert explained(images=photos / "test/dog")["images"][0]["views"][0]["deletion"] is None


def test_feature_maps_of_the_first_two_convolutions_or_of_a_layer(explained, photos, drawn):
    images = photos / "test/owl/0.png"
    (record,) = explained("--feature-maps", images=images)["images"]
    assert record["feature_maps"] == ["feature-maps/00001-0-1.png", "feature-maps/00001-0-2.png"]
    assert all(Path("out", name).exists() for name in record["feature_maps"])
    (record,) = explained("--feature-maps", "--layer", "backbone.1", "--method", "lime", images=images)[
        "images"
    ]
    assert len(record["feature_maps"]) == 1
    assert not explained(images=images)["images"][0]["feature_maps"]


def test_the_page_points_to_the_map_of_the_embedding_where_there_is_one(explained, trained):
    explained()
    assert f"in the report: counterpoise report {trained}" in Path("out/explain.html").read_text()
    bare = Path(shutil.copytree(trained, "bare"))
    (bare / "embedding.json").unlink()
    explained(run=bare)
    assert "Map of the embedding" not in Path("out/explain.html").read_text()


# --- two models ---------------------------------------------------------------------------------------------


def test_two_models_are_sorted_by_the_correlation_of_their_maps(explained, trained, second):
    found = explained("--compare-with", second, "--same-from", "0.3")
    networks = [network_of(trained), network_of(second)]
    classes = ["cat", "dog", "owl"]
    for record in found["images"]:
        maps = [
            captum_map(network, record, classes.index(view["target"]))
            for network, view in zip(networks, record["views"], strict=True)
        ]
        if all(np.ptp(map) > 0 for map in maps):
            expected = spearmanr(maps[0].ravel(), maps[1].ravel()).statistic
            # Values that differ by a rounding error may be in another order.
            assert record["similarity"] == pytest.approx(expected, abs=0.02)
        assert record["same"] == (record["similarity"] >= 0.3)
    same = sum(record["same"] for record in found["images"])
    assert found["attention"] == {
        "measure": "Spearman's rank correlation of the maps",
        "same_from": 0.3,
        "same": same,
        "different": 19 - same,
    }
    assert 0 < same < 19
    page = Path("out/explain.html").read_text()
    assert f"Same: {same}, different: {19 - same}." in page
    assert "(Spearman) is 0.30 or more" in page
    order = [record["path"] for record in sorted(found["images"], key=lambda record: record["similarity"])]
    places = [page.index(f">{path}</a>") for path in order]
    assert places == sorted(places)


def test_a_model_beside_itself_looks_at_the_same(cli, photos, trained):
    result = cli("explain", trained, photos / "test", "--compare-with", trained, "--out", "out")
    assert (result.code, result.err) == (0, "")
    assert "attention: same on 19 (rank correlation of the maps 0.5 or more), different on 0" in result.out


def test_models_of_other_image_sizes_can_be_compared(explained, cli, photos):
    options = ("--method", "bl", "--image-size", "16", *QUICK, "--out", "large")
    assert cli("train", photos, *options).code == 0
    found = explained("--compare-with", "large", images=photos / "test/owl")
    assert [model["image_size"] for model in found["models"]] == [[8, 8], [16, 16]]
    for record in found["images"]:
        for view in record["views"]:
            with Image.open(Path("out", view["overlay"])) as image:
                assert image.size == (8, 8)
        assert -1 <= record["similarity"] <= 1


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path, photos):
    """Photos of which one is text, one is empty, and one breaks off in the middle, behind a whole header."""
    folder = tmp_path / "damaged"
    shutil.copytree(photos / "test", folder)
    (folder / "cat/text.png").write_text("no picture")
    (folder / "dog/empty.png").write_bytes(b"")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "owl/cut.png")
    whole = (folder / "owl/cut.png").read_bytes()
    (folder / "owl/cut.png").write_bytes(whole[:300] + whole[-12:])
    return folder


def test_damaged_images_are_skipped_by_name(cli, refuses, damaged, trained):
    result = cli("explain", trained, damaged, "--out", "out", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert {Path(item["path"]).name for item in found["skipped"]} == {"text.png", "empty.png", "cut.png"}
    assert len(result.complaints) == 3
    assert len(found["images"]) == 19
    page = Path("out/explain.html").read_text()
    assert "Skipped files (3)" in page
    assert "cut.png" in page
    shutil.rmtree("out")
    assert "text.png" in refuses("explain", trained, damaged, "--strict", "--out", "out")
    assert "cut.png" in refuses("explain", trained, damaged / "owl/cut.png", "--out", "new/out")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "gradcam"), "unknown method of explaining 'gradcam'; did you mean 'grad-cam'?"),
        (("--target-class", "cta"), "did you mean 'cat'?"),
        (("--layer", "backbone.9"), "unknown layer with a spatial map 'backbone.9'; did you mean 'backbone"),
        (("--layer", "backbone.0", "--method", "lime"), "lime uses no layer; leave it out"),
        (("--same-from", "0.5"), "name the second with --compare-with"),
        (("--device", "cuda"), "no CUDA device"),
        (("--compare-with", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_options_that_do_not_fit(refuses, trained, photos, options, words):
    if options[0] == "--device" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert words in refuses("explain", trained, photos / "test", "--out", "out", *options)


def test_more_that_does_not_fit(refuses, trained, photos, tmp_path):
    message = refuses(
        "explain", trained, photos, "--compare-with", trained, "--same-from", "2", "--out", "out"
    )
    assert "--same-from is 2.0; expected a rank correlation from -1 to 1" in message
    assert "no such file" in refuses("explain", trained, "nowhere.png", "--out", "out")
    (tmp_path / "file").touch()
    assert "cannot use" in refuses("explain", trained, photos, "--out", tmp_path / "file")
    assert "cannot write" in refuses("explain", trained, photos, "--out", tmp_path / "file/below")


def test_a_folder_with_anything_else_in_it_is_refused(refuses, trained, photos):
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    message = refuses("explain", trained, photos / "test", "--out", "out")
    assert message == (
        "out holds more than an earlier explanation (thesis.txt is in it); choose another --out"
    )


@pytest.mark.parametrize(
    ("error", "code"), [(OSError(errno.ENOSPC, "No space left"), 2), (KeyboardInterrupt(), 130)]
)
def test_an_earlier_explanation_is_replaced_whole_or_not_at_all(
    explained, cli, photos, trained, monkeypatch, error, code
):
    explained(images=photos / "test/cat")
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    calls = []

    def fail_late(figure, path):
        calls.append(path)
        write_text(path, "")
        if len(calls) == 3:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(pictures_module, "save_figure", fail_late)
        result = cli("explain", trained, photos / "test/dog", "--out", "out")
    assert (result.code, len(result.complaints)) == (code, 1)
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before
    assert [path.name for path in Path().iterdir()] == ["out"]
    explained(images=photos / "test/owl")
    assert sorted(path.name for path in Path("out/images").iterdir()) == [
        f"0000{i + 1}-{i}.png" for i in range(5)
    ]


def test_memory_stays_flat_over_many_images(trained, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(pictures_module, "_write_png", lambda *_: None)
    monkeypatch.setattr(pictures_module, "save_figure", lambda *_: None)
    files = sorted(pictures(tmp_path / "many", {"cat": 192}).glob("cat/*.png"))
    peaks, tensors = [], []

    def count(done, total):
        if done == 64 or (done % 64 == 0 and total > 64):
            tensors.append(sum(type(item) is torch.Tensor for item in gc.get_objects()))

    for number in (64, 192):
        gc.collect()
        tracemalloc.start()
        found = explain_images(
            [RunFolder.open(trained)], files[:number], tmp_path / str(number), progress=count
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found.images) == number
    assert max(tensors) - min(tensors) < 20
    # What grows is what is known of each image: some names and numbers.
    assert peaks[1] - peaks[0] < 128 * 4_000


def test_help_explains_every_option(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("explain", "--help")
    assert (result.code, result.err) == (0, "")
    assert max(len(line) for line in result.out.splitlines()) <= 80
    for option in (
        "--compare-with",
        "--method",
        "--target-class",
        "--layer",
        "--same-from",
        "--map-scores",
        "--out",
        "--json",
    ):
        assert option in result.out
