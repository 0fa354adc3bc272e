from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.classifier import Classifier
from models.predictions import CANARIES
from streams.classifier_client import Answer, ClassifierClient

LONG = "The second part repeats the first, and the exercises do not fit the lectures. " * 9
COMMAND = [sys.executable, "-c", "from streams.cli import main; main()", "classifier"]


def metric(url: str, name: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    return sum(
        sample.value for family in families for sample in family.samples if sample.name == name
    )


def wait_until_idle(url: str) -> None:
    deadline = time.monotonic() + 60
    while metric(url, "springtide_classifier_queued"):
        assert time.monotonic() < deadline, "the queue does not drain"
        time.sleep(0.05)


def test_answers_have_the_shape_of_tei(server_url: str) -> None:
    body = {"inputs": [["Great course!"], ["太差了，浪费钱"]]}
    answers = httpx.post(f"{server_url}/predict", json=body).json()

    assert [row[0]["label"] for row in answers] == ["positive", "negative"]
    for row in answers:
        assert {entry["label"] for entry in row} == {"negative", "neutral", "positive"}
        assert [entry["score"] for entry in row] == sorted((e["score"] for e in row), reverse=True)
    bare = httpx.post(f"{server_url}/predict", json={"inputs": "Great course!"}).json()
    assert bare[0]["label"] == "positive"
    plain = httpx.post(f"{server_url}/predict", json={"inputs": ["Great course!", "bad"]}).json()
    assert len(plain) == 2


def test_info_health_and_metrics(server_url: str, classifier: Classifier) -> None:
    info = httpx.get(f"{server_url}/info").json()
    assert info["model_version"] == classifier.model_version
    assert info["max_queued_texts"] == 256
    for route in ("health", "livez", "readyz"):
        assert httpx.get(f"{server_url}/{route}").status_code == 200
    assert "springtide_classifier_device_seconds_bucket" in httpx.get(f"{server_url}/metrics").text


def test_embeddings_over_http_are_those_of_the_trunk(
    server_url: str, classifier: Classifier
) -> None:
    answer = httpx.post(f"{server_url}/embed", json={"inputs": ["refund", "退款"]}).json()
    direct = classifier.embed(classifier.prepare_embedding(["refund", "退款"]))
    assert len(answer) == 2
    for vector, expected in zip(answer, direct, strict=True):
        assert sum(a * b for a, b in zip(vector, expected, strict=True)) > 0.995


def test_embeddings_are_of_so_many_tokens_and_say_which_trunk_made_them(
    server_url: str, classifier: Classifier
) -> None:
    body = {"inputs": LONG, "max_tokens": 16}
    answer = httpx.post(f"{server_url}/embed", json=body)
    direct = classifier.embed(classifier.prepare_embedding([LONG], 16))
    assert sum(a * b for a, b in zip(answer.json()[0], direct[0].tolist(), strict=True)) > 0.995
    assert answer.headers["x-model-version"] == classifier.embedding_version
    for wrong in (0, 513, 16.0, True, "16", None):
        refused = httpx.post(f"{server_url}/embed", json={"inputs": "a", "max_tokens": wrong})
        assert refused.status_code == 422
    # Without a text ranker the trunk speaks for items, too.
    of_items = httpx.post(f"{server_url}/embed", json=body | {"head": "items"})
    assert of_items.headers["x-model-version"] == classifier.items_version
    np.testing.assert_allclose(of_items.json(), answer.json(), atol=1e-3)
    refused = httpx.post(f"{server_url}/embed", json={"inputs": "a", "head": "sentiment"})
    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[" * 100_000, 422),
        (b"[]", 422),
        (b'{"inputs": 5}', 422),
        (b'{"inputs": []}', 422),
        (b'{"inputs": [["a", "b"]]}', 422),
        (b'{"inputs": [[]]}', 422),
        (json.dumps({"inputs": ["a"] * 257}).encode(), 413),
        (b'{"inputs": "' + b"a" * 9_000_000 + b'"}', 413),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_with_a_reason(
    server_url: str, body: bytes, status: int
) -> None:
    answer = httpx.post(f"{server_url}/predict", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert httpx.post(f"{server_url}/embed", content=body).status_code == status


def test_items_that_hold_no_text_leave_their_neighbours_alone(server_url: str) -> None:
    body = b'{"inputs": [["Great course!"], [null], ["\\ud800"], ["\xff\xfe"], [""], ["\\u0000 bad, a waste of money"]]}'  # fmt: skip  # noqa: E501
    rows = httpx.post(f"{server_url}/predict", content=body).json()

    assert len(rows) == 6
    assert rows[0][0]["label"] == "positive"
    assert rows[-1][0]["label"] == "negative"
    for row in rows[1:3]:
        assert row[0] == {"label": "neutral", "score": 1.0, "flagged": True}


def test_many_callers_at_once_each_get_their_own(server_url: str, classifier: Classifier) -> None:
    asyncio.run(ask_many_at_once(server_url, classifier))


async def ask_many_at_once(server_url: str, classifier: Classifier) -> None:
    alone = classifier.predict(CANARIES)
    async with httpx.AsyncClient(timeout=60) as client:

        async def ask(turn: int) -> None:
            order = [(turn + step) % len(CANARIES) for step in range(5)]
            padding = "so " * (turn % 7)  # other lengths make other batches
            inputs = [[padding + LONG], *([CANARIES[index]] for index in order)]
            answer = await client.post(f"{server_url}/predict", json={"inputs": inputs})
            rows = answer.json()[1:]
            for index, row in zip(order, rows, strict=True):
                found = {entry["label"]: entry["score"] for entry in row}
                assert abs(found["negative"] - alone[index].negative) < 0.03

        await asyncio.gather(*(ask(turn) for turn in range(30)))


def test_the_workers_client_gets_scores_and_the_version(
    server_url: str, classifier: Classifier
) -> None:
    async def ask() -> tuple[list[Answer], str]:
        client = ClassifierClient(server_url)
        await client.start()
        try:
            return await client.predict(["Great course!", "", "太差了"]), client.version
        finally:
            await client.stop()

    answers, version = asyncio.run(ask())
    assert [answer.label for answer in answers] == ["positive", "neutral", "negative"]
    assert [answer.flagged for answer in answers] == [False, True, False]
    assert version == classifier.model_version


def test_a_full_queue_answers_429_and_when_to_come_back(server_url: str) -> None:
    asyncio.run(crowd_the_queue(server_url))


async def crowd_the_queue(server_url: str) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        crowd = [
            client.post(f"{server_url}/predict", json={"inputs": [LONG] * 120}) for _ in range(5)
        ]
        answers = await asyncio.gather(*crowd)
        statuses = sorted(answer.status_code for answer in answers)
        assert set(statuses) == {200, 429}
        for answer in answers:
            if answer.status_code == 429:
                assert 1 <= int(answer.headers["retry-after"]) <= 30
            else:
                assert len(answer.json()) == 120
        # Nothing is left behind: the same server takes a full load again.
        again = await client.post(f"{server_url}/predict", json={"inputs": ["fine"] * 256})
        assert again.status_code == 200


def test_texts_of_a_caller_who_hung_up_never_reach_the_device(server_url: str) -> None:
    wait_until_idle(server_url)
    before = metric(server_url, "springtide_classifier_dropped_total")
    address = urlsplit(server_url)
    body = json.dumps({"inputs": [LONG] * 250}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        httpx.Client() as watching,
        socket.create_connection((address.hostname, address.port)) as connection,
    ):
        connection.sendall(head + body)
        while "classifier_queued 250.0" not in watching.get(f"{server_url}/metrics").text:
            pass
    wait_until_idle(server_url)
    assert httpx.post(f"{server_url}/predict", json={"inputs": "fine"}).status_code == 200
    assert metric(server_url, "springtide_classifier_dropped_total") > before + 100


def test_start_errors_are_one_line_and_exit_2(tmp_path: Path, server_url: str) -> None:
    taken = str(urlsplit(server_url).port)
    for arguments, expected in (
        (["--model", str(tmp_path)], "springtide train sentiment"),
        (["--port", taken], "choose another with --port"),
    ):
        ended = subprocess.run(
            [*COMMAND, "--port", "0", *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        assert expected in ended.stderr
        assert ended.stderr.count("\n") == 1
        assert not ended.stdout


def test_it_starts_where_no_network_is_and_ends_on_a_signal() -> None:
    # A proxy that nobody listens on: any question to another machine would fail.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, env=os.environ | nowhere
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
