"""LMLE: large margin local embedding (Huang et al. 2016)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from counterpoise.balance.objectives.base import Embedder, Loss, Objective, check_positive
from counterpoise.exceptions import InputError

# Classes of more images are clustered in mini-batches.
_LARGE = 2000


class LMLE(Objective):
    """Large margin local embedding: margins between distances within clusters, within classes and between classes.

    Parameters
    ----------
    margins : sequence of 3 floats, default=(0.1, 0.1, 0.4)
        g1, g2 and g3, at least 0. Squared distances on the unit sphere are at most 4, and at most 2 where the embedding
        ends with a ReLU.
    cluster_size : int, default=200
        A class of n images has about n / cluster_size clusters, at least one.
    max_clusters : int, default=5
        Most clusters of a class. With many more than a batch holds images of the class, few anchors have another image
        of their cluster.
    recluster_every : int, default=1
        Epochs between two clusterings. A resumed training clusters at once, so that only 1 resumes to the same bits.
    neighbors : int, default=20
        Nearest cluster centers whose classes and distances decide. With 1, the nearest center decides.

    Notes
    -----
    C. Huang et al., "Learning Deep Representation for Imbalanced Classification", CVPR 2016; thesis, section 3.3.1.

    Each class is split into clusters by k-means on its l2-normalized embeddings. For an image, the anchor, a quintuplet
    holds p+, the farthest image of its cluster; p-, the nearest image of its class from another cluster; p--, the
    farthest image of its class; and n, the nearest image of another class. With D the squared distance of l2-normalized
    embeddings, the triple-header hinge loss asks for ``D(p+) < D(p-) < D(p--) < D(n)`` with margins::

        max(0, g1 + D(p+) - D(p-)) + max(0, g2 + D(p-) - D(p--)) + max(0, g3 + D(p--) - D(n))

    The members of a quintuplet are chosen among the images of the batch, by their current embeddings. (The paper
    chooses them from the whole training set, and embeds five images per anchor.) Each hinge is the mean over the
    anchors that have its members. The classification loss is used only until `defer_epochs`, and refused where no epoch
    would use it: the paper starts from trained embeddings, and clusters of untrained ones are meaningless.

    Images are classified by cluster-wise k-NN: of the centers of all clusters, the `neighbors` nearest decide. If these
    are of one class, it is predicted. Otherwise it is the class c with the largest margin: the least distance D to a
    center of another class, minus the greatest to one of c, of these neighbors. That favors compact classes, among them
    rare ones, which have few clusters. The paper finds the centers by approximate search; there are few here, and the
    search is exact. Its k is not in the thesis. Ours was chosen on held-out training images of Fashion-MNIST: at an
    imbalance ratio of 100, the G-mean was 0.687 with 1, 0.685 with 5, 0.729 with 20, and 0.730 with all.

    Helps: classes of several kinds, with many images of each class in a batch (see ``class-balanced-sampler``).

    Hurts: small batches of many classes, where few anchors have all members. A few dozen images of a class soon keep
    all margins because they are memorized: from scratch on Fashion-MNIST with 30 images of each rare class and 5
    epochs, it was no better than class-balanced sampling (by the nearest center). Probabilities depend only on
    distance.

    Examples
    --------
    Two images of each class, those of class 1 at a right angle. The last hinge of the third image is 0.4 + 2 - 2, the
    others are 0; there are no other clusters:

    >>> from types import SimpleNamespace
    >>> network = SimpleNamespace(embed=lambda x: x)
    >>> z, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([0, 0, 1, 1])
    >>> lmle = LMLE(defer_epochs=0, margins=(0.1, 0.1, 0.4))
    >>> lmle.begin_epoch(0, lambda: z, y, np.random.default_rng(0))
    >>> round(float(lmle.step(network, z, y, torch.arange(4), None)), 3)
    0.1
    """

    added_options: ClassVar[Mapping[str, object]] = {"neighbors": 1}
    classifies_by_distance = True

    def __init__(
        self,
        *,
        margins: Sequence[float] = (0.1, 0.1, 0.4),
        cluster_size: int = 200,
        max_clusters: int = 5,
        recluster_every: int = 1,
        neighbors: int = 20,
        defer_epochs: int | float = 0.5,
        epochs: int | None = None,
    ) -> None:
        if not (isinstance(margins, Sequence) and len(margins) == 3 and all(map(_is_margin, margins))):
            raise InputError(f"margins are {margins!r}; expected three numbers of at least 0: g1, g2, g3")
        super().__init__(defer_epochs=defer_epochs, epochs=epochs)
        check_positive(cluster_size=cluster_size, max_clusters=max_clusters, recluster_every=recluster_every)
        check_positive(neighbors=neighbors)
        self.margins = tuple(margins)
        self.cluster_size = cluster_size
        self.max_clusters = max_clusters
        self.recluster_every = recluster_every
        self.neighbors = neighbors
        self._clusters: Tensor | None = None

    @property
    def loss_epochs(self) -> int:
        """The deferred epochs: the hinge phase has no classification loss."""
        return self._first_epoch

    def _prepare(self, epoch: int, embed: Embedder, labels: Tensor, generator: np.random.Generator) -> None:
        due = (epoch - self._first_epoch) % self.recluster_every == 0
        if due or self._clusters is None:
            self._clusters = self._cluster(embed(), labels, generator).members

    def _cluster(self, embeddings: Tensor, labels: Tensor, generator: np.random.Generator) -> Clusters:
        return cluster_classes(embeddings, labels, self.cluster_size, self.max_clusters, generator)

    def _loss_of(self, network: nn.Module, z: Tensor, targets: Tensor, indices: Tensor, loss: Loss) -> Tensor:
        assert self._clusters is not None
        distances, present = quintuplet_distances(z, targets, self._clusters[indices], indices)
        return triple_header_hinge(distances, present, self.margins)

    def prototypes(
        self, embeddings: Tensor, labels: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the centers of clusters within the classes, and their classes."""
        clusters = self._cluster(embeddings, labels, generator)
        return clusters.centers, clusters.labels


def _is_margin(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < math.inf


class Clusters(NamedTuple):
    """Clusters within the classes.

    `members` (N,), int64, is each image's cluster, counted over all classes. `centers` (K, d), float32, are the means
    of their l2-normalized embeddings; `labels` (K,), int64, their classes, ascending.
    """

    members: Tensor
    centers: Tensor
    labels: Tensor


def cluster_classes(
    embeddings: Tensor, labels: Tensor, cluster_size: int, max_clusters: int, generator: np.random.Generator
) -> Clusters:
    """Split each class by k-means on its l2-normalized embeddings, in mini-batches where it is large.

    A class of n images gets ``round(n / cluster_size)`` clusters, at least 1 and at most `max_clusters`.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 1.0], [2.0, 0.0], [0.0, 5.0]])
    >>> found = cluster_classes(z, torch.tensor([0, 0, 0, 0, 1]), 2, 9, np.random.default_rng(0))
    >>> found.labels.tolist()
    [0, 0, 1]
    >>> found.centers[found.members].tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    points = F.normalize(embeddings.float(), dim=1).cpu().numpy()
    members = np.empty(len(points), dtype=np.int64)
    centers: list[np.ndarray] = []
    owners: list[int] = []
    for label in labels.unique().tolist():
        rows = torch.nonzero(labels == label).flatten().cpu().numpy()
        wanted = min(max(round(len(rows) / cluster_size), 1), max_clusters)
        members[rows], found = _k_means(points[rows], min(wanted, len(rows)), generator)
        members[rows] += len(owners)
        centers.append(found)
        owners += [label] * len(found)
    device = embeddings.device
    return Clusters(
        torch.from_numpy(members).to(device),
        torch.from_numpy(np.concatenate(centers).astype(np.float32)).to(device),
        torch.tensor(owners, device=device),
    )


def _k_means(
    points: np.ndarray, clusters: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    kind = KMeans if len(points) <= _LARGE else MiniBatchKMeans
    k_means = kind(clusters, n_init=1, random_state=int(generator.integers(2**31)))
    with warnings.catch_warnings():
        # Fewer distinct points than clusters give equal centers, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return k_means.fit_predict(points), k_means.cluster_centers_


def quintuplet_distances(
    z: Tensor, targets: Tensor, clusters: Tensor, indices: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each anchor's squared distances (B, 4) to p+, p-, p-- and n within the batch, and which exist (B, 4).

    Distances are of l2-normalized embeddings, and 0 where there is no such image. `indices` in the training set exclude
    an image that a batch holds twice from its own quintuplet.

    Examples
    --------
    >>> z = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    >>> distances, present = quintuplet_distances(
    ...     z, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 2]), torch.arange(4)
    ... )
    >>> distances.round(decimals=2)[0], present[3].tolist()
    (tensor([0.8000, 0.4000, 0.8000, 2.0000]), [False, False, False, True])
    """
    unit = F.normalize(z if z.dtype == torch.float64 else z.float(), dim=1)
    squared = (2 - 2 * unit @ unit.T).clamp(min=0)
    in_class = (targets[:, None] == targets) & (indices[:, None] != indices)
    in_cluster = clusters[:, None] == clusters
    other_class = targets[:, None] != targets
    chosen = (
        _extreme(squared, in_class & in_cluster, farthest=True),
        _extreme(squared, in_class & ~in_cluster, farthest=False),
        _extreme(squared, in_class, farthest=True),
        _extreme(squared, other_class, farthest=False),
    )
    distances, present = zip(*chosen, strict=True)
    return torch.stack(distances, dim=1), torch.stack(present, dim=1)


def _extreme(squared: Tensor, candidates: Tensor, *, farthest: bool) -> tuple[Tensor, Tensor]:
    present = candidates.any(dim=1)
    hidden = squared.masked_fill(~candidates, -torch.inf if farthest else torch.inf)
    found = hidden.amax(dim=1) if farthest else hidden.amin(dim=1)
    return found.masked_fill(~present, 0.0), present


def triple_header_hinge(distances: Tensor, present: Tensor, margins: Sequence[float]) -> Tensor:
    """Return the sum of the hinges ``max(0, g_j + D_j - D_{j+1})``, each the mean over the anchors that have it.

    Examples
    --------
    >>> distances = torch.tensor([[0.3, 0.2, 0.5, 0.7]])
    >>> round(float(triple_header_hinge(distances, distances > 0, (0.1, 0.1, 0.4))), 3)  # 0.2 + 0 + 0.2
    0.4
    """
    hinges = F.relu(distances[:, :-1] - distances[:, 1:] + distances.new_tensor(margins))
    both = present[:, :-1] & present[:, 1:]
    return ((hinges * both).sum(dim=0) / both.sum(dim=0).clamp(min=1)).sum()
