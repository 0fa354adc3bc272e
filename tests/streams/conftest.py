"""A running `springtide api` on the real parts, whose every answer is held against its OpenAPI."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import jsonschema
import numpy as np
import pytest

from infra import warehouse
from infra.health import HttpServer, listen
from infra.local.stack import LocalStack
from infra.serving import RedisTopKStore
from infra.warehouse import Warehouse
from online.learner import Kind, Learner
from streams import api_openapi, topics
from streams.api_operations import OPERATIONS
from streams.cli import load

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))


class RunningApi:
    """The process, a client, and the stores behind it; `tenant` is new for each."""

    def __init__(self, stack: LocalStack, url: str, environment: dict[str, str]) -> None:
        self.stack, self.url, self.environment = stack, url, environment
        self.tenant = f"test-{secrets.token_hex(6)}"
        self.store = RedisTopKStore.connect(stack.redis_url)
        self.warehouse = Warehouse(environment["SPRINGTIDE_CLICKHOUSE_URL"])
        self.client = httpx.Client(
            base_url=url,
            timeout=20,
            event_hooks={"request": [self._for_our_tenant], "response": [answers_what_it_says]},
        )

    def _for_our_tenant(self, request: httpx.Request) -> None:
        request.url = request.url.copy_merge_params({"tenant": self.tenant})

    def close(self) -> None:
        self.client.close()
        self.store.close()
        self.warehouse.close()


def answers_what_it_says(response: httpx.Response) -> None:
    """Each answer of an operation has a status and a body that the document names."""
    path = response.request.url.path
    found = [
        operation
        for operation in OPERATIONS
        if operation.method == response.request.method
        and re.fullmatch(operation.path.replace("{id}", ".+"), path)
    ]
    if not found:
        return
    document = api_openapi.document()
    named = min(found, key=lambda operation: -len(operation.path))
    said = document["paths"][named.path][named.method.lower()]["responses"]
    assert str(response.status_code) in said, (response.status_code, path)
    schema = said[str(response.status_code)]["content"]["application/json"]["schema"]
    jsonschema.validate(
        json.loads(response.read()), {**schema, "components": document["components"]}
    )


@pytest.fixture(scope="session")
def neighbours_url() -> Iterator[str]:
    """The worker's own route for similar items, over a learner that was taught a little."""
    from starlette.applications import Starlette

    from streams.worker_http import worker_routes

    learner = Learner()
    for user in range(6):
        items = ["course a", "course/b", f"other-{user}"]
        kinds = np.full(3, Kind.CLICK, dtype=np.int8)
        learner.learn(0, [f"u{user}"] * 3, items, kinds, np.arange(3.0))
    worker = SimpleNamespace(
        not_ready=lambda: "", river=SimpleNamespace(learners=_Everyone(learner))
    )
    server = HttpServer(Starlette(routes=worker_routes(cast(Any, worker))), listen("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield server.url
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


class _Everyone(dict[str, Learner]):
    """The same learner for every tenant."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self._learner = learner

    def get(self, *_: object) -> Learner:  # type: ignore[override]
        return self._learner


@pytest.fixture(scope="session")
def api_environment(
    stack: LocalStack, neighbours_url: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Settings of an API, with tables of its own."""
    topics.apply(stack.kafka_url)
    own = stack.clickhouse_url.rpartition("/")[0] + f"/api_{secrets.token_hex(4)}"
    warehouse.migrate(own)
    return {
        **os.environ,
        **stack.environment(),
        "SPRINGTIDE_CLICKHOUSE_URL": own,
        "SPRINGTIDE_WORKER_URLS": f"{neighbours_url}, http://127.0.0.1:9",  # one of them is away
        "SPRINGTIDE_DATA_DIR": str(tmp_path_factory.mktemp("api")),
    }


@pytest.fixture(scope="session")
def running_api(stack: LocalStack, api_environment: dict[str, str]) -> Iterator[RunningApi]:
    """One `springtide api` for the session."""
    process = subprocess.Popen(
        [SPRINGTIDE, "api", "--port", "0"], stdout=subprocess.PIPE, env=api_environment
    )
    assert process.stdout is not None
    announced = json.loads(process.stdout.readline())
    assert announced["ready"] is True
    running = RunningApi(stack, announced["url"], api_environment)
    yield running
    running.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a command keeps goes here."""
    monkeypatch.setenv("SPRINGTIDE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def evaluated(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run `springtide evaluate …` in this process; its JSON object."""

    def run(*arguments: str) -> dict[str, Any]:
        load("evaluate").main(args=[*arguments, "--json"], standalone_mode=False)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run
