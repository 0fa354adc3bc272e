"""The OpenAPI 3.1 document of the classifier server; `models/openapi.json` is kept current.

Written anew by `python -m models.openapi > models/openapi.json`.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from models import protocols
from models.classifier import EMBEDDING_TOKENS
from models.waiting import Priority
from models.wire import FEWEST_TOKENS, ITEMS, TRUNK

TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {}}]}
LABELS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["label", "score"],
        "properties": {
            "label": {"type": "string"},
            "score": {"type": "number"},
            "flagged": {"type": "boolean"},
            "error": {"type": "string"},
        },
    },
}
PREDICT = {
    "type": "object",
    "required": ["inputs"],
    "properties": {"inputs": TEXTS, "head": {"type": "string", "default": "sentiment"}},
}
EMBED = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": TEXTS,
        "max_tokens": {
            "type": "integer",
            "minimum": FEWEST_TOKENS,
            "maximum": EMBEDDING_TOKENS,
            "default": EMBEDDING_TOKENS,
            "description": "Of every text only so many count; fewer are quicker.",
        },
        "head": {
            "enum": [TRUNK, ITEMS],
            "default": TRUNK,
            "description": "items: by the text ranker, where the server has one.",
        },
    },
}
VECTORS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
PROBLEM = {
    "type": "object",
    "required": ["error", "error_type"],
    "properties": {"error": {"type": "string"}, "error_type": {"type": "string"}},
}
PROBLEMS = {
    "408": "the body took too long",
    "413": "the body, or the number of texts, is too large",
    "422": "the body, or a header, cannot be used",
    "424": "the device failed",
    "429": "the queue, or the memory for bodies, is full; Retry-After says when to try again",
    "503": "the model is loading",
    "504": "the caller's deadline passed",
}
HEADERS = [
    {
        "name": "x-priority",
        "in": "header",
        "schema": {"type": "string", "enum": [each.name.lower() for each in Priority]},
        "description": "Who goes first; a text that waited for two seconds is as urgent as any.",
    },
    {
        "name": "x-timeout-ms",
        "in": "header",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
        "description": "From the request's arrival; what is not on the device then, 504. 0: none.",
    },
]
ANSWERED_BY = {
    "x-model-version": {
        "schema": {"type": "string"},
        "description": "Who answered: the artifact; for /embed, adapter off, the trunk.",
    }
}
KINDS = (
    protocols.InferRequest,
    protocols.InferAnswer,
    protocols.ModerationRequest,
    protocols.ModerationAnswer,
    protocols.PerspectiveRequest,
    protocols.PerspectiveAnswer,
    protocols.ModelMetadata,
)


def document() -> dict[str, Any]:
    """The document as data."""
    references, components = msgspec.json.schema_components(
        KINDS, ref_template="#/components/schemas/{name}"
    )
    # The keys of a dictionary are not in msgspec's schema of it.
    attributes = components["PerspectiveRequest"]["properties"]["requestedAttributes"]
    attributes["propertyNames"] = {"enum": list(get_args(protocols.Attribute))}
    of = dict(zip(KINDS, references, strict=True))
    labels = {"anyOf": [LABELS, {"type": "array", "items": LABELS}]}
    asked = {
        "/predict": ("predict", "Labels with their scores, as TEI answers.", PREDICT, labels),
        "/embed": ("embed", "Unit vectors of the trunk, as TEI answers.", EMBED, VECTORS),
        f"/v2/models/{protocols.MODEL}/infer": (
            "infer",
            "KServe v2 inference.",
            of[protocols.InferRequest],
            of[protocols.InferAnswer],
        ),
        "/v1/moderations": (
            "moderate",
            "OpenAI's moderation: flagged where negative is likeliest.",
            of[protocols.ModerationRequest],
            of[protocols.ModerationAnswer],
        ),
        "/v1alpha1/comments:analyze": (
            "analyze",
            "Perspective's AnalyzeComment.",
            of[protocols.PerspectiveRequest],
            of[protocols.PerspectiveAnswer],
        ),
    }
    told = {
        "/info": ("info", "The model and the limits, as TEI answers.", {"type": "object"}),
        f"/v2/models/{protocols.MODEL}": (
            "metadata",
            "KServe v2 model metadata.",
            of[protocols.ModelMetadata],
        ),
    }
    health = {
        "/health": "health",
        "/v2/health/live": "live",
        "/v2/health/ready": "ready",
        f"/v2/models/{protocols.MODEL}/ready": "modelReady",
    }
    paths: dict[str, Any] = {path: {"post": _post(*each)} for path, each in asked.items()}
    paths |= {path: {"get": _get(*each)} for path, each in told.items()}
    paths |= {path: {"get": _health(name)} for path, name in health.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Springtide classifier",
            "version": "1",
            "description": "Comments in, probabilities out. An item that is no text is answered "
            "neutral and flagged; its neighbours are answered as ever.",
        },
        "paths": paths,
        "components": {"schemas": {"Problem": PROBLEM, **dict(sorted(components.items()))}},
    }


def text() -> str:
    """The document as it is committed and served."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _post(name: str, summary: str, body: Any, answer: Any) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": _content(summary, answer) | {"headers": ANSWERED_BY},
            **_problems(*PROBLEMS),
        },
    }


def _get(name: str, summary: str, answer: Any) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _content(summary, answer), **_problems("503")},
    }


def _health(name: str) -> dict[str, Any]:
    answers = {"200": {"description": "yes"}, "503": {"description": "not yet"}}
    return {"operationId": name, "summary": "Whether it is so.", "responses": answers}


def _problems(*statuses: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: _content(PROBLEMS[status], schema) for status in statuses}


def _content(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


if __name__ == "__main__":
    print(text(), end="")
