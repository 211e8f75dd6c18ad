"""Compare methods on handwritten digits, four of them made 20 times rarer; no download, under a minute."""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.running import compare, load
from counterpoise.config import CompareConfig, DemoConfig

PANEL = "Start here"
ORDER = 10
METHODS = "bl,bl-cw,ros,bl-ros-rus,fs-smote,ados,balanced-softmax,logit-adjusted"


@Command
def command(config: DemoConfig, call: Call) -> int:
    data = {"source": "digits", "imbalance": "step", "ratio": 20, "minority": "4"}
    training = {"methods": METHODS, "epochs": 15, "batch_size": 32}
    comparison = CompareConfig.of(**data, **training, repeats=config.repeats, out=config.out)
    return compare(load(comparison.data), comparison, call)
