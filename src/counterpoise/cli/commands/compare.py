"""Compare methods on the same repeats: mean, 95 % interval, paired tests; the winner is kept as OUT/best.

Finished runs are kept: give the command again to resume after an interruption, or to add methods and repeats.
"""

from counterpoise.cli.options import Call, Command
from counterpoise.cli.running import compare, load
from counterpoise.config import CompareConfig

PANEL = "Train"
ORDER = 30


@Command
def command(config: CompareConfig, call: Call) -> int:
    from counterpoise.methods import parse_methods

    parse_methods(config.methods)  # refused before torch is imported, which takes seconds
    return compare(load(config.data, weights=config.model.weights), config, call)
