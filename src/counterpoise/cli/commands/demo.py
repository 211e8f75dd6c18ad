"""Show both worlds in a minute: methods compared on rare digits from scratch, and the best model for photographs."""

from counterpoise.cli.fitting import fit
from counterpoise.cli.options import Call, Command
from counterpoise.cli.printing import say
from counterpoise.cli.running import compare, load
from counterpoise.config import CompareConfig, DemoConfig, FitConfig

PANEL = "Start here"
ORDER = 10
HEADS = "logit-adjusted,balanced-softmax,cosine"
METHODS = "bl,bl-cw,ros,bl-ros-rus,fs-smote,ados,balanced-softmax,logit-adjusted"


@Command
def command(config: DemoConfig, call: Call) -> int:
    data = {"source": "digits", "imbalance": "step", "ratio": 20, "minority": "4"}
    training = {"methods": METHODS, "epochs": 15, "batch_size": 32, "pretrained": "none"}
    comparison = CompareConfig.of(**data, **training, repeats=config.repeats, out=config.out)
    code = compare(load(comparison.data), comparison, call)
    if code or call.as_json:
        return code
    say()
    out = config.out.with_name(f"{config.out.name}-photographs")
    photographs = {"source": "photographs", "image_size": 96, "methods": HEADS, "tune": False}
    return fit(FitConfig.of(**photographs, budget="60s", out=out), call)
