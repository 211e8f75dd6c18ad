"""Messages from worker processes to the process that started them.

A worker ends with its parent: the workers of a killed study must not hold its run folders, nor wait for work that
never comes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener, wait
from threading import Thread
from typing import Any

SECONDS_BETWEEN_CHECKS = 0.5


def end_with_parent(parent: int) -> None:
    """End this process when process `parent`, which started it, ends; checked twice a second.

    The parent passes its own id: it may be gone before a slow worker could ask for it.
    """
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_CHECKS)
    os._exit(1)


@dataclass(frozen=True)
class Address:
    """Address and shared key of the process that started a worker.

    A worker that is its `own` child ends where nobody listens; the worker of a cluster continues without messages.
    """

    address: Any
    key: bytes
    own: bool = True

    @contextmanager
    def connected(self) -> Iterator[Callable[[Any], None]]:
        """Yield a function that sends a picklable object to the listening process."""
        try:
            client = Client(self.address, authkey=self.key)
        except (OSError, EOFError):
            if self.own:
                raise
            yield lambda message: None
            return
        with client as connection:

            def send(message: Any) -> None:
                try:
                    connection.send(message)
                except OSError:
                    if self.own:
                        os._exit(1)

            yield send


@contextmanager
def listening(on_message: Callable[[Any], None], *, anywhere: bool = False) -> Iterator[Address]:
    """Yield the address for workers' messages; every message that was sent has been received when the block ends.

    `on_message` runs in a thread of this process. Workers may be `anywhere`, but only connections with the key, which
    goes with the work, are accepted.
    """
    key = secrets.token_bytes(32)
    with Listener((_own_address(), 0) if anywhere else None, authkey=key) as listener:
        thread = Thread(target=_serve, args=(listener, on_message), daemon=True)
        thread.start()
        try:
            yield Address(listener.address, key, own=not anywhere)
        finally:
            with Client(listener.address, authkey=key) as last:
                last.send(_End())
            thread.join()


def _own_address() -> str:
    """Return the address at which other machines reach this one; the local one if there is no network."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing, but chooses a route
        return str(probe.getsockname()[0])
    return "127.0.0.1"


class _End:
    """Sentinel that stops the listener."""


def _serve(listener: Listener, on_message: Callable[[Any], None]) -> None:
    # A thread accepts connections, so that messages arrive while no worker is connecting.
    connections: list[Connection] = []
    accepting = Thread(target=_accept, args=(listener, connections), daemon=True)
    accepting.start()
    ended = False
    # One message of each connection is read at a time: earlier ones may still wait when the sentinel arrives.
    while (readable := wait(list(connections), timeout=0 if ended else 0.1)) or not ended:
        for ready in readable:
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except (EOFError, OSError):
                connections.remove(ready)
                continue
            if isinstance(message, _End):
                ended = True
            else:
                on_message(message)


def _accept(listener: Listener, connections: list[Connection]) -> None:
    while True:
        try:
            connections.append(listener.accept())
        except OSError:
            return
