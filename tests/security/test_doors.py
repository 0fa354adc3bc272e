"""With tokens every route is closed: without one 401, wrong scope 403, too fast 429, big 413."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.routing import Mount, Route

from dashboards.ops_page import ops_routes
from infra import warehouse
from infra.local.stack import LocalStack
from streams import topics
from streams.api_doors import OPEN, Pace
from streams.api_operations import OPERATIONS
from streams.api_request import MAX_BODY_BYTES
from streams.api_routing import openapi_route, operation_routes

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
PER_SECOND = 3

SCOPES = {(operation.method, operation.path): operation.scope for operation in OPERATIONS}
Place = tuple[str, str, str]  # method, path, scope


def places() -> list[Place]:
    """Every route that the API has, from the routes themselves."""
    found: list[Place] = []
    nobody: Any = SimpleNamespace()
    for route in [*operation_routes(nobody), openapi_route(), *ops_routes(cast(Any, nobody))]:
        if isinstance(route, Mount):
            found.append(("GET", f"{route.path}/page.css", "read"))
        else:
            assert isinstance(route, Route) and route.methods
            path = route.path
            for name in ("{id:any}", "{user:path}", "{panel}"):
                path = path.replace(name, "a")
            for method in sorted(route.methods - {"HEAD"}):
                named = route.path.replace(":any", "")
                found.append((method, path, SCOPES.get((method, named), "read")))
    return [*found, ("GET", "/no/such/route", "read")]


PLACES = places()


class Guarded:
    """An API with tokens, a fresh one for each use since each has its own pace."""

    def __init__(self, url: str, tokens: dict[str, list[str]]) -> None:
        self.url, self._tokens = url, tokens
        self.client = httpx.Client(base_url=url, timeout=20)

    def token(self, scope: str) -> str:
        return self._tokens[scope].pop()

    def ask(self, place: Place, token: str = "", **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        headers |= more.pop("headers", {})
        return self.client.request(place[0], place[1], headers=headers, **more)

    def announces(self, place: Place, token: str, length: int) -> int:
        """The answer's status to a body that is announced, and never sent."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        connection.putrequest(place[0], place[1])
        connection.putheader("authorization", f"Bearer {token}")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(length))
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture(scope="module")
def guarded(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    topics.apply(stack.kafka_url)
    warehouse.migrate(stack.clickhouse_url)
    tokens = {scope: [secrets.token_hex(12) for _ in range(100)] for scope in ("read", "write")}
    lines = [f"{token} school {scope}" for scope, some in tokens.items() for token in some]
    (folder / "tokens").write_text("\n".join(lines))
    environment = {
        **os.environ, **stack.environment(), "SPRINGTIDE_DATA_DIR": str(folder),
        "SPRINGTIDE_API_TOKENS_FILE": str(folder / "tokens"),
        "SPRINGTIDE_API_REQUESTS_PER_SECOND": str(PER_SECOND),
    }  # fmt: skip
    process = subprocess.Popen(
        [SPRINGTIDE, "api", "--port", "0"], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    running = Guarded(json.loads(process.stdout.readline())["url"], tokens)
    yield running
    running.client.close()
    process.terminate()
    assert process.wait(15) == 0


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]} {place[1]}")
def test_a_route_is_closed(guarded: Guarded, place: Place) -> None:
    assert guarded.ask(place).status_code == 401
    assert guarded.ask(place, "not-a-token-of-ours").status_code == 401
    right, wrong = place[2], "write" if place[2] == "read" else "read"
    assert guarded.ask(place, guarded.token(wrong)).status_code == 403
    assert guarded.announces(place, guarded.token(right), MAX_BODY_BYTES + 1) == 413
    token = guarded.token(right)
    answers = [guarded.ask(place, token) for _ in range(3 * PER_SECOND)]
    hasty = [answer for answer in answers if answer.status_code == 429]
    assert hasty and int(hasty[0].headers["retry-after"]) >= 1
    assert all(answer.status_code not in (401, 403, 500) for answer in answers)


@pytest.mark.parametrize("path", sorted(OPEN - {"/health"}))
def test_health_and_metrics_stay_open(guarded: Guarded, path: str) -> None:
    assert guarded.client.get(path).status_code == 200


def test_a_body_without_a_length_is_cut_off_too(guarded: Guarded) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 100_000 + 2):
            yield b" " * 100_000

    answer = guarded.ask(
        ("POST", "/v1/events", "write"), guarded.token("write"),
        headers={"content-type": "application/json"}, content=pieces(),
    )  # fmt: skip
    assert answer.status_code == 413


def test_an_endless_address_is_refused(guarded: Guarded) -> None:
    path = "/v1/users/a/recommendations?surface=" + "x" * 20_000
    assert guarded.ask(("GET", path, "read"), guarded.token("read")).status_code == 414


def test_cors_is_closed(guarded: Guarded) -> None:
    elsewhere = {"origin": "https://elsewhere.example"}
    asked = {**elsewhere, "access-control-request-method": "DELETE"}
    preflight = guarded.client.options("/v1/users/a", headers=asked)
    simple = guarded.ask(PLACES[0], guarded.token("read"), headers=elsewhere)
    for answer in (preflight, simple):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert preflight.status_code == 401


def test_every_answer_carries_the_headers(guarded: Guarded) -> None:
    token = guarded.token("read")
    for answer in (guarded.ask(("GET", "/", "read"), token), guarded.client.get("/livez"),
                   guarded.ask(("GET", "/openapi.json", "read"), token),
                   guarded.client.get("/v1/alerts")):  # fmt: skip
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


def test_a_browser_is_asked_for_the_token_and_no_other_page_may_use_it(guarded: Guarded) -> None:
    asked = guarded.client.get("/")
    assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic ")
    kept = "Basic " + b64encode(f"anybody:{guarded.token('read')}".encode()).decode()
    assert guarded.client.get("/", headers={"authorization": kept}).status_code == 200
    cross = {"authorization": kept, "sec-fetch-site": "cross-site"}
    assert guarded.client.get("/v1/alerts", headers=cross).status_code == 403
    broken = {"authorization": "Basic ///not=base64"}
    assert guarded.client.get("/", headers=broken).status_code == 401


def test_a_token_gets_as_much_as_its_pace_allows_and_not_more() -> None:
    from streams.api_access import Token
    from streams.api_answers import ApiError

    now = 0.0
    pace = Pace(10.0, lambda: now)
    mine, other = (Token(digest, "t", frozenset()) for digest in (b"1", b"2"))
    taken = 0
    for step in range(1_000):  # ten seconds, a hundred requests a second
        now = step / 100
        try:
            pace.take(mine)
            taken += 1
        except ApiError as error:
            assert error.status == 429
    assert 100 <= taken <= 110  # ten a second, and the ten that had gathered
    pace.take(other)
    for _ in range(1_000):
        Pace(0.0).take(mine)
