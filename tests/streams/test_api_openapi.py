"""The committed document is the code's own, and every reference in it leads somewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import streams
from streams import api_openapi
from streams.api_operations import OPERATIONS

COMMITTED = Path(streams.__file__).parent / "openapi.json"


def test_committed_document_is_current() -> None:
    assert COMMITTED.read_text("utf-8") == api_openapi.text(), (
        "write it anew: python -c 'from streams import api_openapi; print(api_openapi.text(), "
        'end="")\' > streams/openapi.json'
    )


def test_every_operation_is_described() -> None:
    paths = json.loads(COMMITTED.read_text("utf-8"))["paths"]
    described = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    assert described == {(operation.path, operation.method) for operation in OPERATIONS}


def test_every_reference_resolves() -> None:
    document = json.loads(COMMITTED.read_text("utf-8"))

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                assert reference.rpartition("/")[2] in document["components"]["schemas"]
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(document)
