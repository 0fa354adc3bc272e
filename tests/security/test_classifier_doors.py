"""The classifier has the API's doors: its real routes over HTTP, before a model is loaded (503)."""

from __future__ import annotations

import asyncio
import http.client
import secrets
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
from starlette.applications import Starlette

from infra.health import HttpServer, health_routes, listen
from infra.settings import load_settings
from models.bodies import MAX_BODY_BYTES
from models.metrics import ClassifierMetrics
from models.server import Server
from models.service import Service
from streams.api_doors import OPEN
from streams.classifier_client import ClassifierClient
from streams.commands.classifier import guarded

PER_SECOND = 3
READ, WRITE, HASTY = (secrets.token_hex(12) for _ in range(3))
READERS = [secrets.token_hex(12) for _ in range(40)]


def app(tokens: Path) -> Any:
    from prometheus_client import CollectorRegistry

    service = Service(ClassifierMetrics(CollectorRegistry()), 64)
    settings = load_settings(api_tokens_file=tokens, api_requests_per_second=PER_SECOND)
    routes = [*health_routes(service.not_ready), *Server(service).routes()]
    return guarded(Starlette(routes=routes), settings), routes


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    tokens = tmp_path_factory.mktemp("classifier") / "tokens"
    readers = [f"{token} school read" for token in (READ, HASTY, *READERS)]
    tokens.write_text("\n".join([*readers, f"{WRITE} school write"]))
    application, routes = app(tokens)
    server = HttpServer(application, listen("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    places = [("POST" if "POST" in r.methods else "GET", r.path) for r in routes]
    yield server.url, [place for place in places if place[1] not in OPEN]
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_every_route_is_closed(closed: Any) -> None:
    url, places = closed
    assert {"/predict", "/embed", "/v1/moderations", "/openapi.json"} <= {
        path for _, path in places
    }
    for (method, path), token in zip(places, READERS, strict=False):
        held = {"authorization": f"Bearer {token}"}
        refused = {"authorization": f"Bearer {WRITE}"}
        assert httpx.request(method, url + path).status_code == 401
        assert httpx.request(method, url + path, headers=refused).status_code in (403, 429)
        assert httpx.request(method, url + path, headers=held).status_code in (200, 503)
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        connection.putrequest(method, path)
        connection.putheader("authorization", held["authorization"])
        connection.putheader("content-length", str(MAX_BODY_BYTES + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()


def test_a_wrong_scope_is_refused(closed: Any) -> None:
    url, _ = closed
    asyncio.run(asyncio.sleep(1.1))  # its pace may be used up by the test before
    refused = {"authorization": f"Bearer {WRITE}"}
    assert httpx.post(f"{url}/v1/moderations", headers=refused).status_code == 403


def test_too_fast_is_429(closed: Any) -> None:
    held = {"authorization": f"Bearer {HASTY}"}
    answers = [httpx.get(f"{closed[0]}/openapi.json", headers=held) for _ in range(3 * PER_SECOND)]
    hasty = [answer for answer in answers if answer.status_code == 429]
    assert hasty and int(hasty[0].headers["retry-after"]) >= 1


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_and_metrics_stay_open(closed: Any, path: str) -> None:
    assert httpx.get(closed[0] + path).status_code in (200, 503)


def test_a_worker_shows_its_token(closed: Any) -> None:
    async def status(token: str) -> int:
        client = ClassifierClient(closed[0], token=token)
        await client.start()
        try:
            await client._ask(["good"])
        except aiohttp.ClientResponseError as error:
            return error.status
        finally:
            await client.stop()
        return 200

    assert asyncio.run(status("")) == 401
    assert asyncio.run(status(READ)) == 503  # past the doors, no model yet
