"""Commands that are killed, or run out of disk, in the middle: the next one gives the same results and leaves nothing.

`make chaos` has hundreds of such cases, of all commands.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stops commands by fork and process groups")
@pytest.mark.slow
def test_a_stopped_command_is_repaired_by_the_next():
    # In a process of its own: one with threads cannot be forked.
    words = ["--kills", "3", "--seed", "5", "--commands", "train,predict,adjust,compare"]
    done = subprocess.run(
        [sys.executable, str(HELPERS / "chaos.py"), *words], capture_output=True, text=True, check=False
    )
    assert "kill 3" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout
