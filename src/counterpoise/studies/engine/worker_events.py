"""Event from worker processes to the one that started them.

A worker whose parent is gone ends at once: when a comparison is killed, its workers must not go on holding
its run folders, nor wait for work that never comes.
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

SECONDS_BETWEEN_LOOKS = 0.5


def end_with_parent(parent: int) -> None:
    """Let this process end when process `parent`, which started it, does; a thread looks twice a second.

    The parent says who it is: it may be gone before a slow worker has come so far as to ask.
    """
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)


@dataclass(frozen=True)
class Address:
    """Where a worker reaches the process that started it.

    Attributes
    ----------
    address : str or (str, int)
        Of the listener.
    key : bytes
        What the two sides know each other by.
    own : bool
        Whether the worker is that process's own child: it ends where nobody listens any more. A cluster's worker goes
        on in silence.
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
def listening(hear: Callable[[Any], None], *, anywhere: bool = False) -> Iterator[Address]:
    """Yield the address at which `hear` is told, in a thread of this process, what workers send.

    Parameters
    ----------
    hear : callable
        Takes one message.
    anywhere : bool
        Whether workers may be on other machines. Only who has the key, which goes with the work, is listened to.
    """
    key = secrets.token_bytes(32)
    with Listener((_own_address(), 0) if anywhere else None, authkey=key) as listener:
        thread = Thread(target=_serve, args=(listener, hear), daemon=True)
        thread.start()
        address = Address(listener.address, key, own=not anywhere)
        yield address
        with Client(listener.address, authkey=key) as last:
            last.send(_End())
        thread.join()


def _own_address() -> str:
    """Return the address that other machines reach this one at; its own only, where there are none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: this only looks up which way it would go
        return str(probe.getsockname()[0])
    return "127.0.0.1"


class _End:
    """The listening process's own last word."""


def _serve(listener: Listener, hear: Callable[[Any], None]) -> None:
    # A thread accepts connections, so that news flows while no worker is connecting.
    connections: list[Connection] = []
    accepting = Thread(target=_accept, args=(listener, connections), daemon=True)
    accepting.start()
    ended = False
    # One message of each connection is read at a time: what was said before the last word may still wait behind it.
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
                hear(message)


def _accept(listener: Listener, connections: list[Connection]) -> None:
    while True:
        try:
            connections.append(listener.accept())
        except OSError:
            return
