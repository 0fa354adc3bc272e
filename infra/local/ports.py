"""Free loopback ports, and whether something answers on one."""

from __future__ import annotations

import random
import socket
from collections import deque

LOOPBACK = "127.0.0.1"
# Below the range that the system hands to outgoing connections, which might take a port between
# our look and the part's start.
FIRST, LAST = 20_000, 32_000
# Parts get their ports before any of them listens: two of one stack must not get the same.
_given: deque[int] = deque(maxlen=1_000)


def free_port() -> int:
    """A TCP port on which nothing listens on the loopback address; each time another."""
    chance = random.SystemRandom()
    for _ in range(200):
        port = chance.randrange(FIRST, LAST)
        if port not in _given and is_free(port):
            _given.append(port)
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        chosen: int = probe.getsockname()[1]
        return chosen


def is_free(port: int) -> bool:
    """Whether the port may be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int, question: bytes = b"", answer: bytes = b"") -> bool:
    """Whether something listens on the port and answers so."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            if question:
                connection.sendall(question)
            return not answer or connection.recv(len(answer)) == answer
    except OSError:
        return False
