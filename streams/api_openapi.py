"""The OpenAPI 3.1 document, made from the operations; `streams/openapi.json` is kept current."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from streams.api_answers import Problem
from streams.api_operations import OPERATIONS, Operation
from streams.events import MAX_ID_BYTES

PROBLEMS = {
    400: "a parameter cannot be used",
    401: "no known token",
    403: "the token lacks the scope or tenant, or without tokens: not from this machine",
    413: "what was sent is too large",
    414: "path and query are too long",
    429: "this token asks too often; Retry-After says when to try again",
    503: "a part behind the API is away; Retry-After says when to try again",
}
# 128 bytes in UTF-8, which a schema cannot say.
ID = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
BODY_PROBLEMS = {
    408: "the body took too long",
    415: "the body is not JSON",
    422: "the body cannot be used",
}


def document() -> dict[str, Any]:
    """The document as data."""
    kinds: set[Any] = {Problem}
    for operation in OPERATIONS:
        kinds |= {*operation.answers.values(), *([operation.body] if operation.body else [])}
    ordered = sorted(kinds, key=lambda kind: str(kind.__name__))
    references, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip(ordered, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _entry(
            operation, schema_of
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Springtide",
            "version": "1",
            "description": "Fresh recommendations and provable alerts. The tenant comes from the "
            "token; without tokens from the query parameter `tenant`, default `default`.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": dict(sorted(components.items())),
        },
    }


def text() -> str:
    """The document as it is committed and served."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _entry(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): _content(kind.__doc__ or "", schema_of[kind])
        for status, kind in operation.answers.items()
    }
    problems = PROBLEMS | (BODY_PROBLEMS if operation.body else {})
    for status, meaning in problems.items():
        known = answers.get(str(status))
        if known is None:
            answers[str(status)] = _content(meaning, schema_of[Problem])
        else:  # the batch was refused whole, or entry by entry
            either = [schema_of[operation.answers[status]], schema_of[Problem]]
            answers[str(status)] = _content(meaning, {"anyOf": either})
    entry: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Scope: {operation.scope}.",
        "parameters": _parameters(operation),
        "responses": dict(sorted(answers.items())),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of[operation.body]}}
        entry["requestBody"] = {"required": True, "content": content}
    return entry


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    path = [{"name": "id", "in": "path", "required": True, "schema": ID}]
    query = [
        {
            "name": parameter.name,
            "in": "query",
            "required": False,
            "schema": parameter.schema,
            "description": parameter.description,
        }
        for parameter in operation.parameters
    ]
    return (path if "{id}" in operation.path else []) + query


def _content(description: str, schema: Any) -> dict[str, Any]:
    first = description.strip().partition("\n")[0]
    return {"description": first, "content": {"application/json": {"schema": schema}}}
