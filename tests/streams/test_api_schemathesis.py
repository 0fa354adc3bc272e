"""Requests made from the OpenAPI document, right and wrong: no answer that it does not foresee."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from streams import api_openapi
from streams.events import MAX_ID_BYTES

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
EXAMPLES = 25
TOKEN = "of-the-test-" + "t" * 12

schema = schemathesis.openapi.from_dict(api_openapi.document())


@schema.auth()
class _Token:
    """What a request holds, unless it is made without, or with a wrong one, to see what happens."""

    def get(self, case: Any, context: Any) -> str:
        del case, context
        return TOKEN

    def set(self, case: Any, data: str, context: Any) -> None:
        del context
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@pytest.fixture(scope="module")
def open_api(
    api_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A running API, and a client that holds a token for everything."""
    folder = tmp_path_factory.mktemp("open")
    (folder / "tokens").write_text(f"{TOKEN} fuzzed admin\n")
    environment = {
        **api_environment,
        "SPRINGTIDE_API_TOKENS_FILE": str(folder / "tokens"),
        "SPRINGTIDE_API_REQUESTS_PER_SECOND": "0",
    }  # fmt: skip
    process = subprocess.Popen(
        [SPRINGTIDE, "api", "--port", "0"], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    client = httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=20)
    yield client
    client.close()
    process.terminate()
    assert process.wait(15) == 0


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_no_answer_is_unforeseen(case: Any, open_api: httpx.Client) -> None:
    # Sent by httpx: the environment's urllib3 is not the one that the tool's own client knows,
    # hence without its probe for ignored tokens too; test_doors asks every route for that.
    asked = case.as_transport_kwargs(base_url=str(open_api.base_url))
    body = {name: asked[name] for name in ("json", "data") if asked.get(name) is not None}
    if isinstance(body.get("data"), (bytes, str)):
        body["content"] = body.pop("data")
    try:
        answer = open_api.request(
            asked["method"],
            asked["url"],
            params=asked.get("params"),
            headers=dict(asked["headers"].items()),
            **body,
        )
    except httpx.LocalProtocolError:  # no client can say that
        return
    excluded = [ignored_auth]
    if case.operation.label in ("POST /v1/events", "POST /v1/served"):
        # Their entries are judged one by one, by schemas of their own: 422 where none is good.
        excluded.append(positive_data_acceptance)
    if (
        len(str((case.path_parameters or {}).get("id", "")).encode("utf-8", "replace"))
        > MAX_ID_BYTES
    ):
        excluded.append(positive_data_acceptance)  # a schema counts characters, we count bytes
    case.validate_response(answer, excluded_checks=excluded)
