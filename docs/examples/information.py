"""Self-information, entropy and cross entropy.

An event of probability p carries the information -log p: none if it is certain, much if it is rare. Entropy
is the mean information of a distribution, so a coin that lands evenly has the most. Cross entropy is the mean
information where the events follow P and a model expects Q. It is least at Q = P, where it equals the
entropy; what it exceeds the entropy by is the Kullback-Leibler divergence. All three are the loss
`CrossEntropy`, with classes or with probabilities as targets (lecture, "Cross entropy loss function"). With
base 2 in place of e, nats become bits.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from counterpoise.balance.losses import CrossEntropy

cross_entropy = CrossEntropy(reduction="none")
p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
coins = torch.stack([1 - p, p], dim=1)  # one distribution of X = 0 and X = 1 in a row
truth = torch.tensor([[0.7, 0.3]], dtype=torch.float64)

information = cross_entropy(coins.log(), torch.ones(len(p), dtype=torch.int64))
entropy = cross_entropy(coins.log(), coins)
crossed = cross_entropy(coins.log(), truth.expand_as(coins))
least = cross_entropy(truth.log(), truth).item()
p, information, entropy, crossed = (values.numpy() for values in (p, information, entropy, crossed))

# The lecture's numbers: a softmax, the loss of one image, and the distribution with the highest entropy.
softmax = torch.tensor([0.3, 1.6, 3.1, 5.6]).softmax(dim=0)
np.testing.assert_allclose(softmax, [0.00452, 0.01657, 0.07426, 0.90466], atol=5e-6)
image = cross_entropy(torch.tensor([[0.23, 0.63, 0.14]]).log(), torch.tensor([1]))
np.testing.assert_allclose(image, 0.462, atol=5e-4)
np.testing.assert_allclose(p[entropy.argmax()], 0.5)

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.5))

left.plot(p, information)
left.set(title="Self-information  −log p", xlabel="probability p of the event", ylabel="information (nats)")
left.set(xlim=(0, 1), ylim=(0, 5))
bits = left.secondary_yaxis("right", functions=(lambda nats: nats / np.log(2), lambda bits: bits * np.log(2)))
bits.set_ylabel("information (bits)")
left.plot(0.5, np.log(2), "o", color="C1")
left.annotate("a fair coin: 1 bit", (0.5, np.log(2)), (0.42, 1.6), arrowprops={"arrowstyle": "-"})

middle.plot(p, entropy)
middle.plot(0.5, np.log(2), "o", color="C1")
middle.annotate("log 2 = 0.693", (0.5, np.log(2)), (0.5, 0.735), ha="center")
middle.set(title="Entropy of a coin", xlabel="probability p of X = 1", ylabel="entropy (nats)")
middle.set(xlim=(0, 1), ylim=(0, 0.8))

right.plot(p, crossed, label="cross entropy H(P, Q)")
right.axhline(least, color="C1", linestyle="--", label=f"entropy H(P) = {least:.3f}")
right.fill_between(p, least, crossed, color="C0", alpha=0.12, label="divergence KL(P || Q)")
right.plot(0.3, least, "o", color="C1")
right.annotate("Q = P", (0.3, least), (0.3, 0.4), ha="center")
right.set(title="Cross entropy, P(X = 1) = 0.3", xlabel="the model's Q(X = 1)", ylabel="cross entropy (nats)")
right.set(xlim=(0, 1), ylim=(0, 2.6))
right.legend(loc="upper center")

plt.show()
