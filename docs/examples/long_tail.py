"""Step, linear and long-tail imbalance.

One hundred classes of up to 1,200 images, thinned to an imbalance ratio (largest over smallest class) of 40,
as the thesis's subset of ImageNet. The ratio alone says little: the three datasets have the same largest and
the same smallest class, and share neither their number of images nor their number of minority classes, those
of at most half of the largest class (thesis, Definition 1.3). Collected photographs tend to the long tail
(thesis, Figure 1.1), a straight line on a logarithmic axis. The poster tests step and linear imbalance.
"""

import matplotlib.pyplot as plt
import numpy as np

from counterpoise import make_imbalance
from counterpoise.datasets import LinearImbalance, LongTailImbalance, StepImbalance, find_minority

CLASSES, LARGEST, RATIO = 100, 1200, 40

labels = np.repeat(np.arange(CLASSES), LARGEST)
profiles = {
    "Step, µ = 0.4": StepImbalance(RATIO, minority=0.4),  # 40 % of the classes are rare
    "Linear": LinearImbalance(RATIO),
    "Long tail": LongTailImbalance(RATIO),
}
counts = {}
for name, profile in profiles.items():
    kept = make_imbalance(labels, profile, random_state=0)  # indices of the images that stay
    counts[name] = np.sort(np.bincount(labels[kept], minlength=CLASSES))[::-1]

figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), sharex=True)
rank = np.arange(1, CLASSES + 1)
for axis, (name, sizes) in zip(axes.flat, counts.items(), strict=False):
    minority = np.isin(np.arange(CLASSES), find_minority(sizes))
    for which, label, color in ((~minority, "majority", "C0"), (minority, "minority", "C1")):
        axis.bar(rank[which], sizes[which], width=1.0, color=color, label=f"{which.sum()} {label} classes")
    axis.set(
        title=f"{name}: {sizes.sum():,} images",
        ylabel="training images",
        ylim=(0, 1500),
        yticks=[0, 400, 800, 1200],
    )
    axis.legend(loc="upper right", ncols=2, columnspacing=1.2)

together = axes[1, 1]
for (name, sizes), style in zip(counts.items(), ("-", "--", "-."), strict=True):
    together.semilogy(rank, sizes, style, label=name)
together.set(title=f"All three, ratio {RATIO}", ylabel="training images (log scale)", xlim=(0, 101))
together.set_yticks([30, 100, 300, 1200], ["30", "100", "300", "1200"])
together.minorticks_off()
together.legend(loc="lower left")
for axis in axes[1]:
    axis.set_xlabel("class, from the largest to the smallest")

plt.show()
