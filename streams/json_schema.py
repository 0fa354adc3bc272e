"""JSON Schema of what the topics carry, for producers in any language; see `streams/schemas/`."""

from __future__ import annotations

import json

import msgspec

from streams.topics import CATALOGUE


def texts() -> dict[str, str]:
    """File name → JSON Schema (2020-12) of a topic's message."""
    return {
        f"{spec.name}.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": spec.name,
                **msgspec.json.schema(spec.message),
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
        for spec in CATALOGUE
    }
