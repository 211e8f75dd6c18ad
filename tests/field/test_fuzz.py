"""Damaged and odd inputs of every kind: read or refused in time, with little memory and without a traceback.

`make fuzz` has thousands of such cases.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runs commands in forked processes")
@pytest.mark.slow
def test_mutated_inputs_are_read_or_refused():
    # In a process of its own: one with threads cannot be forked.
    words = ["--cases", "24", "--seed", "11"]
    done = subprocess.run(
        [sys.executable, str(HELPERS / "fuzzing.py"), *words], capture_output=True, text=True, check=False
    )
    assert "24 cases" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout
