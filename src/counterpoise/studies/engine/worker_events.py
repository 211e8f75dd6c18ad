"""Messages of workers to the process that started them, wherever they run."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from threading import Event, Thread
from typing import Any

#: Sends a message to the process that started the study.
Send = Callable[[Any], None]
SECONDS_TO_CONNECT = 5


@dataclass(frozen=True)
class Address:
    """Address and shared key of the process that started a worker.

    A worker that is its `own` child ends where nobody listens; the worker of a cluster continues without messages.
    """

    address: Any
    key: bytes
    own: bool = True

    @contextmanager
    def connected(self) -> Iterator[Send]:
        """Yield a function that sends a picklable object to the listening process."""
        try:
            if not self.own:  # where a firewall drops packets, an attempt without a limit takes minutes
                socket.create_connection(self.address, SECONDS_TO_CONNECT).close()
            client = Client(self.address, authkey=self.key)
        except (OSError, EOFError, AuthenticationError):
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
def listening(on_message: Send, *, host: str | None = None) -> Iterator[Address]:
    """Yield the address for workers' messages; every message that was sent has been received when the block ends.

    `on_message` runs in a thread of this process. `host` is the address at which workers on other machines reach this
    one. Only connections with the key, which goes with the work, are accepted.
    """
    key = secrets.token_bytes(32)
    with Listener(host and (host, 0), authkey=key) as listener:
        thread = Thread(target=_serve, args=(listener, on_message), daemon=True)
        thread.start()
        try:
            yield Address(listener.address, key, own=host is None)
        finally:
            with Client(listener.address, authkey=key) as last:
                last.send(_End())
            thread.join()


def own_address(other: str) -> str:
    """Return the address at which the machine `other` reaches this one; the local one if there is no route."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((other, 9))  # sends nothing, but chooses a route
        return str(probe.getsockname()[0])
    return "127.0.0.1"


class _End:
    """Sentinel that stops the listener."""


def _serve(listener: Listener, on_message: Send) -> None:
    # A thread accepts connections, so that messages arrive while no worker is connecting.
    connections: list[Connection] = []
    ended = Event()
    Thread(target=_accept, args=(listener, connections, ended), daemon=True).start()
    # One message of each connection is read at a time: earlier ones may still wait when the sentinel arrives.
    while (readable := wait(list(connections), timeout=0 if ended.is_set() else 0.1)) or not ended.is_set():
        for ready in readable:
            assert isinstance(ready, Connection)
            try:
                message = ready.recv()
            except (EOFError, OSError):
                connections.remove(ready)
                continue
            if isinstance(message, _End):
                ended.set()
            else:
                on_message(message)


def _accept(listener: Listener, connections: list[Connection], ended: Event) -> None:
    while not ended.is_set():
        # A worker that is killed while it connects must not keep the others from connecting.
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            connections.append(listener.accept())
