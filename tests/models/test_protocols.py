"""KServe v2, OpenAI's moderation and Perspective, asked of the server; its document, fuzzed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

import models
from models import openapi, protocols, wire
from models.classifier import Classifier

COMMITTED = Path(models.__file__).parent / "openapi.json"
BAD = "Terrible support, a waste of money"


def infer(texts: list[Any], **more: Any) -> dict[str, Any]:
    one = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    return {"inputs": [one], **more}


def outputs(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return {each["name"]: each for each in answer.json()["outputs"]}


def test_kserve_answers_tensors_of_one_row_a_text(server_url: str, classifier: Classifier) -> None:
    url = f"{server_url}/v2/models/springtide"
    answer = httpx.post(f"{url}/infer", json=infer([BAD, [""], None], id="7"))
    found = outputs(answer)
    assert (answer.json()["id"], answer.json()["model_version"]) == ("7", classifier.model_version)
    assert list(found) == ["label", "scores", "flagged", "error"]
    assert found["label"]["data"] == ["negative", "neutral", "neutral"]
    assert found["flagged"]["data"] == [False, True, True]
    assert found["scores"]["shape"] == [3, 3] and len(found["scores"]["data"]) == 9
    told = httpx.get(url).json()
    assert told["versions"] == [classifier.model_version]
    assert [each["name"] for each in told["outputs"]][:4] == list(found)
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/springtide/ready"):
        assert httpx.get(server_url + path).status_code == 200


def test_kserve_answers_the_outputs_that_are_named(server_url: str, classifier: Classifier) -> None:
    url = f"{server_url}/v2/models/springtide/infer"
    named = [f"topic.{name}" for name in classifier.topics] + ["label"]
    body = infer([BAD, ""], outputs=[{"name": name} for name in named])
    found = outputs(httpx.post(url, json=body))
    assert list(found) == named
    for name, head in classifier.topics.items():
        assert found[f"topic.{name}"]["shape"] == [2, len(head.labels)]
    refused = httpx.post(url, json=infer([BAD], outputs=[{"name": "topic.nothing"}]))
    assert (refused.status_code, "topic.nothing" in refused.json()["error"]) == (422, True)


def test_every_head_answers_predict_by_its_name(server_url: str, classifier: Classifier) -> None:
    heads = httpx.get(f"{server_url}/info").json()["heads"]
    assert set(heads) == {"sentiment", *classifier.topics}
    for name, labels in heads.items():
        body = {"inputs": [["Stocks fell after the report"], ["😀"]], "head": name}
        rows = httpx.post(f"{server_url}/predict", json=body).json()
        for row in rows:
            assert {each["label"] for each in row} == set(labels)
            assert sum(each["score"] for each in row) == pytest.approx(1, abs=1e-3)
        assert all(each.get("flagged") for each in rows[1])
    unknown = httpx.post(f"{server_url}/predict", json={"inputs": "a", "head": "nothing"})
    assert unknown.status_code == 422


def test_moderation_flags_what_is_negative(server_url: str) -> None:
    body = {"input": [BAD, "The teacher is wonderful", ""], "model": "omni-moderation-latest"}
    found = httpx.post(f"{server_url}/v1/moderations", json=body).json()
    assert [each["flagged"] for each in found["results"]] == [True, False, False]
    for each in found["results"]:
        assert sum(each["categories"].values()) == 1
        assert sum(each["category_scores"].values()) == pytest.approx(1, abs=1e-3)
    single = httpx.post(f"{server_url}/v1/moderations", json={"input": BAD}).json()
    assert len(single["results"]) == 1


def test_perspective_scores_the_attributes_that_are_asked(server_url: str) -> None:
    url = f"{server_url}/v1alpha1/comments:analyze"
    wanted = {"NEGATIVE": {}, "POSITIVE": {}}
    body = {"comment": {"text": BAD}, "requestedAttributes": wanted, "languages": ["en"]}
    found = httpx.post(url, json=body).json()
    assert set(found["attributeScores"]) == set(wanted)
    negative = found["attributeScores"]["NEGATIVE"]
    assert negative["summaryScore"]["value"] > 0.5
    assert negative["spanScores"][0]["end"] == len(BAD)
    body["requestedAttributes"] = {"TOXICITY": {}}
    assert httpx.post(url, json=body).status_code == 422


def test_a_name_with_half_a_surrogate_pair_is_refused_and_no_fault() -> None:
    one = {"comment": {"text": BAD}, "requestedAttributes": {"\ud800": {}}}
    with pytest.raises(wire.BadRequestError):
        protocols.read(json.dumps(one).encode(), protocols.PerspectiveRequest)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-priority": "urgent"}, 422),
        ({"x-timeout-ms": "soon"}, 422),
        ({"x-timeout-ms": "-1"}, 422),
        ({"x-priority": "high", "x-timeout-ms": "60000"}, 200),
        ({"x-priority": "low", "x-timeout-ms": "0"}, 200),
    ],
)
def test_urgency_and_deadline_are_headers(
    server_url: str, headers: dict[str, str], status: int
) -> None:
    answer = httpx.post(f"{server_url}/predict", json={"inputs": BAD}, headers=headers)
    assert answer.status_code == status, answer.text


def test_a_deadline_counts_from_arrival_and_is_kept_by_every_protocol(server_url: str) -> None:
    many = [f"{BAD} {'and so on ' * 40} {n}" for n in range(200)]
    late = httpx.post(f"{server_url}/predict", json={"inputs": many}, headers={"x-timeout-ms": "1"})
    assert (late.status_code, late.json()["error_type"]) == (504, "Deadline")
    body = infer(many, parameters={"timeout": 1_000, "priority": 1})
    assert httpx.post(f"{server_url}/v2/models/springtide/infer", json=body).status_code == 504


def test_the_committed_document_is_current_and_served(server_url: str) -> None:
    assert COMMITTED.read_text("utf-8") == openapi.text(), (
        "write it anew: python -m models.openapi > models/openapi.json"
    )
    served = httpx.get(f"{server_url}/openapi.json")
    assert served.json() == openapi.document()
    for path, methods in served.json()["paths"].items():
        for method in methods:
            assert httpx.request(method, server_url + path).status_code not in {404, 405}


JUDGED_FURTHER = ("POST /predict", "POST /embed", "POST /v2/models/springtide/infer")
UNKNOWN_HEADER = "x-schemathesis-unknown-property"
SCHEMA = schemathesis.openapi.from_dict(openapi.document())


@SCHEMA.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_asked_the_answer_is_as_described(case: Any, server_url: str) -> None:
    # Sent by httpx: the environment's urllib3 is not the one that the tool's own client knows.
    asked = case.as_transport_kwargs(base_url=server_url)
    body = {name: asked[name] for name in ("json", "data") if asked.get(name) is not None}
    if isinstance(body.get("data"), (bytes, str)):
        body["content"] = body.pop("data")
    headers = dict(asked["headers"].items())
    try:
        answer = httpx.request(
            asked["method"], asked["url"], params=asked.get("params"), headers=headers, **body,
            timeout=60,
        )  # fmt: skip
    except (httpx.LocalProtocolError, UnicodeEncodeError):  # no client can say that
        return
    # That a head or an output exists, and a shape is that of its data, no schema can say.
    excluded = [positive_data_acceptance] if case.operation.label in JUDGED_FURTHER else []
    if answer.status_code == 504:
        excluded.append(not_a_server_error)  # of the deadline that was asked for
    if UNKNOWN_HEADER in headers:
        excluded.append(negative_data_rejection)  # proxies add headers; nobody refuses them
    case.validate_response(answer, excluded_checks=excluded)


def test_what_has_no_utf8_comes_back_as_it_was_written(server_url: str) -> None:
    body = json.dumps(infer([BAD], id="\ud800"))
    answer = httpx.post(f"{server_url}/v2/models/springtide/infer", content=body)
    assert (answer.status_code, json.loads(answer.text)["id"]) == (200, "\ud800")
