"""Settings of the network and of its weights."""

from pathlib import Path

from pydantic import ConfigDict

from counterpoise.config.base import Config, option


class ModelConfig(Config):
    """The network, and the weights that it starts from."""

    model_config = ConfigDict(title="Network")

    backbone: str | None = option(
        None,
        "Network: lenet, convnet, tinynet, resnet32, vgg16, or any timm name.",
        shown="chosen by image size",
    )
    weights: Path | None = option(
        None,
        "Pretrained weights: another run, or a file (safetensors, or a PyTorch state dict).",
        metavar="RUN|FILE",
        shown="from scratch",
    )
    freeze: str | None = option(
        None,
        "Layers of the `weights` that stay frozen: the first N, all (everything below the head; each image is then "
        "embedded once), or auto (all for few images, else none).",
        metavar="N|auto|all",
    )
    cache: Path | None = option(
        None, "Folder in which `freeze` all caches embeddings, shared by several runs.", shown="OUT/cache"
    )
