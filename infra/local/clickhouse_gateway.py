"""chDB (ClickHouse in a process) behind ClickHouse's native protocol, on the loopback address.

So clickhouse-driver is the only client code there is, here and in production. For development and
tests: one process owns the path, any password is right, and there is no compression, no external
table and no server-side parameter.

    python -m infra.local.clickhouse_gateway --path DIR [--port 0]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from infra.local.clickhouse_inserts import Inserts
from infra.local.clickhouse_session import Session
from infra.local.ports import LOOPBACK
from infra.local.supervisor import ProcessSpec

MAX_CLIENTS = 256


class Gateway(socketserver.ThreadingTCPServer):
    """A thread and a chDB session for each client."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CLIENTS

    def __init__(self, path: Path, port: int) -> None:
        from chdb.state.sqlitelike import Connection

        path.mkdir(parents=True, exist_ok=True)
        self._drafts = path.absolute().with_name(f"{path.name}-drafts")
        self._connect: Callable[[], Any] = partial(Connection, str(path))
        # The engine goes with its last session: this one stays.
        self._keeper = self._connect()
        self._inserts = Inserts()
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        super().__init__((LOOPBACK, port), socketserver.BaseRequestHandler)
        # Path and port are ours: what a gateway that was killed has left is nobody's.
        shutil.rmtree(self._drafts, ignore_errors=True)
        self._drafts.mkdir()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one client, in its thread. One too many is shown the door."""
        del client_address
        if not self._places.acquire(blocking=False):
            return
        try:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Session(request, self._connect, self._drafts, self._inserts).serve()
        finally:
            self._places.release()


def clickhouse_part(data_dir: Path, port: int) -> ProcessSpec:
    """What to start; it announces itself. Data live in `data_dir/clickhouse`."""
    path = str((data_dir / "clickhouse").absolute())
    return ProcessSpec(
        name="clickhouse",
        command=(sys.executable, "-m", __spec__.name, "--path", path, "--port", str(port)),
        announces=True,
        restarts=5,
        nice=5,  # an insert takes every processor for some 40 ms: the page view goes first
    )


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    try:
        gateway = Gateway(options.path, options.port)
    except OSError as error:
        sys.exit(f"port {options.port} on {LOOPBACK} cannot be used ({error})")
    except Exception as error:
        sys.exit(f"chDB cannot open {options.path}: {error}")
    serving = threading.Thread(target=gateway.serve_forever, daemon=True)
    serving.start()
    url = f"clickhouse://{LOOPBACK}:{gateway.port}/default"
    print(json.dumps({"ready": True, "url": url}), flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    gateway.shutdown()
    # What was acknowledged is on disk; statements still running may not end in good time.
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
