"""Tokens, tenants and scopes; and without tokens, this machine only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from infra.metrics import ApiMetrics
from infra.settings import UserError
from streams.api_access import Gate, gate_for, is_loopback, read_tokens
from streams.api_answers import ApiError
from streams.api_doors import OPEN, Doors, Pace
from streams.api_operations import OPERATIONS, Operation
from streams.api_routing import error_handlers, operation_routes

READER, WRITER, ADMIN = "r" * 20, "w" * 20, "a" * 20


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(
        f"# ours\n\n{READER} school read\n{WRITER} school read,write\n{ADMIN} shop admin\n"
    )
    return path


def request(query: str = "", **headers: str) -> Request:
    named = {"host": "127.0.0.1:8080", **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
    }
    return Request(scope)


def test_token_gives_its_tenant(tokens_file: Path) -> None:
    gate = Gate(read_tokens(tokens_file))
    assert gate.admit(request(authorization=f"Bearer {READER}"), "read") == "school"
    assert gate.admit(request(authorization=f"bearer {ADMIN}"), "write") == "shop"


@pytest.mark.parametrize("header", ["", "Bearer", f"Basic {READER}", f"Bearer {READER}x", READER])
def test_unknown_token_is_401(tokens_file: Path, header: str) -> None:
    with pytest.raises(ApiError) as refused:
        Gate(read_tokens(tokens_file)).admit(request(authorization=header), "read")
    assert refused.value.status == 401
    assert "Authorization: Bearer" in refused.value.message


def test_token_without_the_scope_or_for_another_tenant_is_403(tokens_file: Path) -> None:
    gate = Gate(read_tokens(tokens_file))
    held = f"Bearer {READER}"
    with pytest.raises(ApiError) as no_scope:
        gate.admit(request(authorization=held), "write")
    with pytest.raises(ApiError) as no_tenant:
        gate.admit(request("tenant=shop", authorization=held), "read")
    assert no_scope.value.status == no_tenant.value.status == 403


def test_without_tokens_the_tenant_is_asked_for() -> None:
    assert Gate().admit(request(), "admin") == "default"
    assert Gate().admit(request("tenant=school"), "write") == "school"
    with pytest.raises(ApiError):
        Gate().admit(request("tenant=No+Such"), "read")


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "rebound.example:8080"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_without_tokens_other_sites_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        Gate().admit(request(**headers), "read")
    assert refused.value.status == 403


def test_without_tokens_only_loopback_may_be_bound(tokens_file: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert is_loopback(host)
        gate_for(None, host)
    for host in ("0.0.0.0", "10.0.0.1", "::", "example.org", ""):
        with pytest.raises(UserError, match="SPRINGTIDE_API_TOKENS_FILE"):
            gate_for(None, host)
        gate_for(tokens_file, host)


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "short school read\n", f"{READER} school\n",
             f"{READER} School read\n", f"{READER} school reed\n"],
)  # fmt: skip
def test_unusable_tokens_are_one_line_without_the_token(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_tokens(path)
    assert "\n" not in str(refused.value)
    assert READER not in str(refused.value)


def test_missing_tokens_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        gate_for(tmp_path / "none", "127.0.0.1")


@pytest.mark.parametrize("path", sorted(OPEN))
def test_a_host_header_opens_no_door(tokens_file: Path, path: str) -> None:
    """Starlette < 1 puts it before the path when it is asked for a request's URL."""
    answers: list[Message] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("let in")

    async def nothing() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        answers.append(message)

    asked = request(host=f"127.0.0.1{path}?").scope | {"raw_path": b"/"}
    doors = Doors(inner, Gate(read_tokens(tokens_file)), Pace(1.0))
    asyncio.run(doors(asked, nothing, send))
    assert answers[0]["status"] == 401
    assert (b"www-authenticate", b'Basic realm="springtide", charset="UTF-8"') in (
        answers[0]["headers"]
    )


def test_a_tenant_that_asks_too_much_at_once_leaves_others_alone(
    tokens_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.api_routing.MOST_AT_ONCE", 2)
    alerts = next(one for one in OPERATIONS if one.name == "list_alerts")

    async def scenario() -> None:
        ended, asked = asyncio.Event(), asyncio.Semaphore(0)

        async def slow(*_: Any) -> Response:
            asked.release()
            await ended.wait()
            return PlainTextResponse("ok")

        operation: Operation = structs.replace(alerts, handle=slow)
        monkeypatch.setattr("streams.api_routing.OPERATIONS", (operation,))
        api: Any = SimpleNamespace(
            gate=Gate(read_tokens(tokens_file)), metrics=ApiMetrics(CollectorRegistry()),
            store=SimpleNamespace(transient_errors=()),
        )  # fmt: skip
        app = Starlette(routes=operation_routes(api), exception_handlers=error_handlers(()))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:

            async def ask(token: str) -> int:
                headers = {"authorization": f"Bearer {token}"}
                return (await client.get("/v1/alerts", headers=headers)).status_code

            waiting = [asyncio.create_task(ask(who)) for who in (READER, READER, ADMIN)]
            for _ in waiting:
                await asked.acquire()
            assert await ask(WRITER) == 503  # of the same tenant
            ended.set()
            assert await asyncio.gather(*waiting) == [200] * 3
            assert await ask(WRITER) == 200

    asyncio.run(asyncio.wait_for(scenario(), 20))
