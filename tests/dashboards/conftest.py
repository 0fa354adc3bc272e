"""A small Grafana: the part of its HTTP API that we use, with its rules, over a recorder."""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "glsa_a-token-of-the-test"
CREATED = {"id": 7, "version": 1}


class SmallGrafana:
    """Keeps what is posted as Grafana does: adds ids, versions and defaults, hides passwords.

    Attributes:
        asked: (method, path, body) of every request, in order.
        kept: path below /api → the resource.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.kept: dict[str, Any] = {}
        self.url = ""

    def writes(self) -> list[tuple[str, str, Any]]:
        """The requests that change something."""
        return [each for each in self.asked if each[0] != "GET"]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and body."""
        path, _, query = path.removeprefix("/api").partition("?")
        if path == "/frontend/settings":
            return 200, {"buildInfo": {"version": "11.6.0"}}
        if path == "/dashboards/db":
            return self._save_dashboard(body)
        if path == "/v1/provisioning/contact-points" and method == "GET":
            points = [v for k, v in self.kept.items() if k.startswith(f"{path}/")]
            return 200, [each for each in points if query in ("", f"name={each['name']}")]
        if method == "GET":
            return (200, self.kept[path]) if path in self.kept else (404, {"message": "not found"})
        return self._write(method, path, body)

    def _write(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if method == "PUT":
            if path not in self.kept:
                return 404, {"message": "not found"}
            uid = path.rpartition("/")[2]
        else:
            uid = body["uid"]
            path = f"{path}/uid/{uid}" if path == "/datasources" else f"{path}/{uid}"
            if path in self.kept:
                return 409, {"message": "exists"}
        if path.startswith("/v1/provisioning/alert-rules"):
            folder = f"/folders/{body['folderUID']}"
            if folder not in self.kept:
                return 400, {"message": "no such folder"}
        secrets = dict.fromkeys((body or {}).pop("secureJsonData", {}), True)
        kept = {**body, "uid": uid, **CREATED}
        if "datasources" in path:
            kept |= {"orgId": 1, "readOnly": False, "secureJsonFields": secrets, "database": ""}
        if "alert-rules" in path:
            kept |= {"orgID": 1, "provenance": "api", "updated": "2026-01-01T00:00:00Z"}
        self.kept[path] = kept
        return (202 if "contact-points" in path else 200), kept

    def _save_dashboard(self, body: Any) -> tuple[int, Any]:
        uid = body["dashboard"]["uid"]
        path = f"/dashboards/uid/{uid}"
        if f"/folders/{body['folderUid']}" not in self.kept:
            return 400, {"message": "folder not found"}
        before = self.kept.get(path)
        if before is not None and not body["overwrite"]:
            return 412, {"message": "The dashboard has been changed by someone else"}
        version = 1 + (before["dashboard"]["version"] if before else 0)
        saved = {**body["dashboard"], "id": 12, "version": version}
        self.kept[path] = {"dashboard": saved, "meta": {"folderUid": body["folderUid"]}}
        return 200, {"uid": uid, "version": version, "status": "success"}


@pytest.fixture
def grafana() -> Iterator[SmallGrafana]:
    """A Grafana with nothing of ours in it."""
    small = SmallGrafana()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                status, answer = 401, {"message": "invalid API key"}
            else:
                small.asked.append((self.command, self.path, copy.deepcopy(body)))
                status, answer = small.answer(self.command, re.sub("//+", "/", self.path), body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    small.url = f"http://127.0.0.1:{server.server_port}"
    yield small
    server.shutdown()
    server.server_close()
