"""Workers end with the process that started them."""

import os
import subprocess
import sys
import time

import pytest

from counterpoise.studies.engine.worker_events import listening

WORKER = """
import time
from counterpoise.studies.engine.backends import end_with_parent
end_with_parent({parent})
time.sleep({seconds})
"""


def worker(parent, seconds):
    code = WORKER.format(parent=parent, seconds=seconds)
    return subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode


@pytest.mark.skipif(not hasattr(os, "getppid"), reason="needs process ids")
@pytest.mark.slow
def test_a_worker_that_comes_up_after_its_parent_is_gone_ends_at_once():
    start = time.monotonic()
    assert worker(parent=2**22 + 1, seconds=600) == 1
    assert time.monotonic() - start < 100


@pytest.mark.slow
def test_a_worker_whose_parent_lives_goes_on():
    assert worker(parent=os.getpid(), seconds=2) == 0


def test_everything_said_before_the_end_is_heard():
    heard = []

    def hear(message):
        heard.append(message)
        if message == "slow to hear":
            time.sleep(0.3)

    said = ["slow to hear", "two are left unread", "when the last word comes"]
    with listening(hear) as address, address.connected() as send:
        for message in said:
            send(message)
    assert heard == said


KILLED_WHILE_CONNECTING = """
import socket
from counterpoise.studies.engine.worker_events import listening
heard = []
with listening(heard.append) as address:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.connect(address.address)
    with address.connected() as send:
        send("of the next worker")
print(heard)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
def test_a_worker_killed_while_it_connects_keeps_nobody_else_out():
    code = [sys.executable, "-c", KILLED_WHILE_CONNECTING]
    found = subprocess.run(code, timeout=120, capture_output=True, text=True, check=True)
    assert found.stdout == "['of the next worker']\n"
