"""Find the best model for your pictures within a time budget: audit, split, compare, fine-tune, choose.

Heads on pretrained features are compared by cross-validation, then the network is fine-tuned as far as time allows. The
best model so far is always in OUT/best: stop at any time with Ctrl+C, and give the command again to resume.
"""

from counterpoise.cli.fitting import fit
from counterpoise.cli.options import Call, Command
from counterpoise.config import FitConfig

PANEL = "Start here"
ORDER = 15


@Command
def command(config: FitConfig, call: Call) -> int:
    return fit(config, call)
