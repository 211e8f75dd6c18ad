"""Studies and back ends for tests of clusters, in a module that workers can import."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from counterpoise.studies import ComparisonStudy
from counterpoise.studies.engine.backends import Cluster


@dataclass(frozen=True)
class DyingComparison(ComparisonStudy):
    """Comparison whose runs of `method` kill their worker once for each letter in the file `lives`."""

    lives: Path = Path()
    method: str = ""

    def execute(self, task, folder, on_progress):
        left = self.lives.read_text()
        if left and task.name == self.method:
            self.lives.write_text(left[1:])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(task, folder, on_progress)


class Elsewhere(Cluster):
    """Processes that work in another folder, one for each task."""

    name, package = "elsewhere", "concurrent"
    lost = ("concurrent.futures.process:BrokenProcessPool",)

    @contextmanager
    def opened(self, address, workers):
        with TemporaryDirectory() as self.folder:
            yield

    def submit(self, function, *args):
        pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=os.chdir, initargs=(self.folder,))
        future = pool.submit(function, *args)
        future.add_done_callback(lambda _: pool.shutdown(wait=False))
        return future

    def _executor(self, threads, gpus):
        return self

    def _send(self, value):
        return value

    def _host(self):
        return "127.0.0.1"


class Pickled(Elsewhere):
    """This process, in another folder, on copies of what is sent; of `losses`, each x is a lost worker."""

    name = "pickled"

    def __init__(self, losses=""):
        self.losses = losses

    def submit(self, function, *args):
        future = Future()
        lost, self.losses = self.losses[:1] == "x", self.losses[1:]
        if lost:
            future.set_exception(BrokenProcessPool("killed"))
            return future
        sent = pickle.dumps((function, args))
        with contextlib.chdir(self.folder):
            function, args = pickle.loads(sent)
            future.set_result(pickle.loads(pickle.dumps(function(*args))))
        return future
