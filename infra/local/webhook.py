"""A webhook receiver: keeps Alertmanager's webhook JSON in a bounded file, shows the last ones.

python -m infra.local.webhook --file alerts.jsonl [--port 0]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.local.ports import LOOPBACK
from infra.local.supervisor import ProcessSpec

MAX_BODY_BYTES = 1_000_000
MAX_KEPT = 1_000
SHOWN = 50


class Kept:
    """The last webhooks, one JSON object a line. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._lines = sum(1 for _ in path.open("rb"))

    def add(self, webhook: dict[str, Any]) -> None:
        """Append; past twice the bound the older half goes."""
        with self._lock:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(webhook) + "\n")
            self._lines += 1
            if self._lines >= 2 * MAX_KEPT:
                newest = self._path.read_text("utf-8").splitlines(keepends=True)[-MAX_KEPT:]
                draft = self._path.with_suffix(".new")
                draft.write_text("".join(newest), "utf-8")
                draft.replace(self._path)
                self._lines = len(newest)

    def last(self, count: int) -> list[dict[str, Any]]:
        """The newest, oldest of them first."""
        with self._lock:
            return read_kept(self._path)[-count:]


def read_kept(path: Path) -> list[dict[str, Any]]:
    """All webhooks in the file, in the order of their arrival; a line cut off by a crash is not
    one.
    """
    found = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


class Handler(BaseHTTPRequestHandler):
    """GET: the last ones. POST: one more."""

    server: Receiver

    def do_GET(self) -> None:
        """The last webhooks as a JSON list."""
        self._answer(200, self.server.kept.last(SHOWN))

    def do_POST(self) -> None:
        """Keep one."""
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY_BYTES:
            self.close_connection = True
            return self._answer(413, {"error": f"send 1 to {MAX_BODY_BYTES} bytes, with a length"})
        try:
            webhook = json.loads(self.rfile.read(int(size)))
        except ValueError:
            return self._answer(400, {"error": "not JSON"})
        if not isinstance(webhook, dict) or not isinstance(webhook.get("alerts"), list):
            return self._answer(422, {"error": "not Alertmanager's webhook JSON: no alerts"})
        self.server.kept.add(webhook)
        return self._answer(200, {"kept": len(webhook["alerts"])})

    def log_message(self, *_: Any) -> None:
        """Requests are not worth a line."""

    def _answer(self, status: int, body: Any) -> None:
        encoded = json.dumps(body, indent=1).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)


class Receiver(ThreadingHTTPServer):
    """The receiver on the loopback address."""

    daemon_threads = True

    def __init__(self, path: Path, port: int) -> None:
        self.kept = Kept(path)
        super().__init__((LOOPBACK, port), Handler)


def webhook_part(file: Path, port: int) -> ProcessSpec:
    """What to start; it announces itself."""
    path = str(file.absolute())
    return ProcessSpec(
        name="webhook",
        command=(sys.executable, "-m", __spec__.name, "--file", path, "--port", str(port)),
        announces=True,
        restarts=5,
        stop_seconds=3.0,
    )


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    try:
        receiver = Receiver(options.file, options.port)
    except OSError as error:
        sys.exit(f"port {options.port} on {LOOPBACK} cannot be used ({error})")
    url = f"http://{LOOPBACK}:{receiver.server_port}/"
    print(json.dumps({"ready": True, "url": url}), flush=True)
    receiver.serve_forever()


if __name__ == "__main__":
    main()
