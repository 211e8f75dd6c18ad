"""Focal loss.

Focal loss multiplies the cross entropy of an image by (1 − p)^γ, with p the probability that the network
gives to the true class (thesis, Eq. 3.2 and Figure 3.2). γ = 0 is cross entropy. Well-classified images, of
which the common classes have most, lose their weight: at γ = 2 an image with p = 0.9 counts a hundredth of
its cross entropy, one with p = 0.1 still four fifths. The loss does not look at the class, so a rare class
gains only as far as its images are the hard ones; `alpha` adds class weights.
"""

import matplotlib.pyplot as plt
import torch

from counterpoise.balance.losses import FocalLoss

p = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
logits = torch.stack([torch.zeros_like(p), torch.logit(p)], dim=1)  # softmax gives 1 - p and p
targets = torch.ones(len(p), dtype=torch.int64)

losses = {
    gamma: FocalLoss(gamma=gamma, reduction="none")(logits, targets).numpy()
    for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)
}
p = p.numpy()

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9))
for (gamma, loss), style in zip(losses.items(), ("-", "--", "-.", "-", ":"), strict=True):
    name = f"γ = {gamma:g}" + (" (cross entropy)" if gamma == 0 else "")
    left.plot(p, loss, style, label=name)
    right.semilogy(p, loss / losses[0.0], style, label=name)

left.axvspan(0.6, 1, color="0.94", zorder=0)
left.text(0.8, 2.55, "well-classified\nimages", ha="center", va="top", color="0.35")
left.set(title="Loss of an image", xlabel="probability p of the true class", ylabel="focal loss (nats)")
left.set(xlim=(0, 1), ylim=(0, 5))
left.legend(loc="upper right")

right.plot([0.1, 0.9], [0.81, 0.01], "o", color="C3")
right.annotate("p = 0.1: 0.81", (0.1, 0.81), (0.03, 0.13), arrowprops={"arrowstyle": "-"})
right.annotate("p = 0.9: 0.01", (0.9, 0.01), (-8, -4), textcoords="offset points", ha="right")
right.set(title=r"Share of the cross entropy that is left, $(1 - p)^\gamma$")
right.set(xlabel="probability p of the true class", ylabel="focal loss / cross entropy (log scale)")
right.set(xlim=(0, 1), ylim=(1e-4, 1.6))

plt.show()
