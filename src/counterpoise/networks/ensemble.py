"""Average of several networks as one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.exceptions import InputError
from counterpoise.networks.base import Network


class EnsembleNetwork(Network):
    """Networks of the same classes whose log-probabilities are averaged.

    The embedding is the concatenation of the members' embeddings, and the logits are the mean of their log-softmax.
    Explanations by the last spatial map are those of the last member.

    Parameters
    ----------
    members : sequence of Network
        At least two, for the same images and classes.

    Examples
    --------
    >>> from counterpoise.networks import create_network
    >>> first, second = (
    ...     create_network("tinynet", num_classes=3, in_channels=1, image_size=(8, 8), seed=seed).eval()
    ...     for seed in (0, 1)
    ... )
    >>> ensemble, x = EnsembleNetwork([first, second]), torch.rand(2, 1, 8, 8)
    >>> expected = (first(x).log_softmax(dim=1) + second(x).log_softmax(dim=1)) / 2
    >>> torch.allclose(ensemble(x), expected)
    True
    """

    #: Its name in a configuration; `create_network` does not accept it.
    NAME = "ensemble"

    def __init__(self, members: Sequence[Network]) -> None:
        # The constructor of Network would create a head, but the heads are the members'.
        nn.Module.__init__(self)
        kinds = {(m.num_classes, m.in_channels, tuple(m.image_size)) for m in members}
        if len(members) < 2 or len(kinds) > 1:
            raise InputError(
                f"found {len(members)} networks for {len(kinds)} kinds of images or classes; expected two or more "
                "for the same"
            )
        self.name, self.head_layer = self.NAME, "mean"
        first, self.members = members[0], nn.ModuleList(members)
        self.fixed_size = any(member.fixed_size for member in members)
        self.num_classes, self.in_channels, self.image_size = (
            first.num_classes,
            first.in_channels,
            first.image_size,
        )
        self.embedding_dim = sum(member.embedding_dim for member in members)
        self.standardize = False
        self.register_buffer("mean", torch.zeros(1, self.in_channels, 1, 1))
        self.register_buffer("std", torch.ones(1, self.in_channels, 1, 1))

    @property
    def classifier(self) -> nn.Module:  # type: ignore[override]
        """The members' heads."""
        return nn.ModuleList([member.classifier for member in self._networks])

    @property
    def options(self) -> dict[str, Any]:  # type: ignore[override]
        """Configurations of the members."""
        return {"members": [member.config for member in self._networks]}

    @property
    def _networks(self) -> list[Network]:
        return [member for member in self.members if isinstance(member, Network)]

    def features(self, x: Tensor) -> Tensor:
        """Return the last member's last spatial map, see :meth:`Network.features`."""
        return self._networks[-1].features(x)

    def raw_embed(self, x: Tensor) -> Tensor:
        """Return the members' embeddings (N, embedding_dim), one after the other."""
        return torch.cat([member.embed(x) for member in self._networks], dim=1)

    def head(self, z: Tensor) -> Tensor:
        """Return the mean log-probabilities (N, C) of embeddings (N, embedding_dim)."""
        parts = z.split([member.embedding_dim for member in self._networks], dim=1)
        heads = zip(self._networks, parts, strict=True)
        return torch.stack([member.head(part).log_softmax(dim=1) for member, part in heads]).mean(dim=0)

    def reset_head(self, num_classes: int | None = None, *, generator: torch.Generator | None = None) -> None:
        """Refuse: its members are trained one by one."""
        raise InputError("an ensemble has no head of its own; train one of its members instead")

    def set_prototypes(self, centers: Tensor, labels: Tensor, *, neighbors: int = 1) -> None:
        """Refuse: its members are trained one by one."""
        raise InputError("an ensemble has no head of its own; train one of its members instead")
