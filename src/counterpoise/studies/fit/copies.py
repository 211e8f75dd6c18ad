"""Copies of the same picture, which must not be on both sides of a split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterpoise.datasets import ImageDataset


def group_copies(dataset: ImageDataset) -> tuple[ImageDataset, list[str]]:
    """Return a dataset whose copies of one picture are in one group, and what was found, in words.

    Existing groups that share a picture are united. A dataset without copies is returned unchanged.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    train, notes = dataset.train, []
    keys, picture, counts = np.unique(train.content_keys(), return_inverse=True, return_counts=True)
    if dataset.test is not None and (leaked := int(np.isin(dataset.test.content_keys(), keys).sum())):
        notes.append(
            f"{leaked:,} test images are training images, too: test scores will be too good; remove the copies"
        )
    copies = int((counts > 1).sum())
    if not copies:
        return dataset, notes
    what = "1 picture occurs" if copies == 1 else f"{copies:,} pictures occur"
    notes.append(f"{what} more than once: copies stay on one side of every split")
    group = picture
    if train.groups is not None:
        first = np.unique(train.groups, return_inverse=True)[1]
        shape = (len(keys), int(first.max()) + 1)
        # Pictures and groups are the two kinds of nodes, and each image is an edge.
        edges = coo_array((np.ones(len(first)), (picture, first + shape[0])), shape=(sum(shape), sum(shape)))
        group = connected_components(edges, directed=False)[1][picture]
    return replace(dataset, train=replace(train, groups=group.astype(np.int64))), notes
