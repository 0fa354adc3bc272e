"""What a worker answers over HTTP: health, metrics, and items near an item, for the API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.health import health_routes
from streams.api_access import Gate, read_tokens
from streams.api_answers import problem
from streams.api_doors import Doors, Pace

if TYPE_CHECKING:
    from streams.app import App

MOST_SIMILAR = 100


def worker_http(app: App, tokens_file: Path | None) -> ASGIApp:
    """What a worker's port answers; with tokens as the API has them."""
    if tokens_file is None:  # the orchestrator's network policy keeps others out
        return Starlette(routes=worker_routes(app))
    gate = Gate(read_tokens(tokens_file))
    inner = Starlette(routes=worker_routes(app, gate))
    return Doors(inner, gate, Pace(0.0), own=None)


def worker_routes(app: App, gate: Gate | None = None) -> list[Route]:
    """`/livez`, `/readyz`, `/metrics`, and `/similar/{tenant}/{item}?k=`."""

    async def similar(request: Request) -> Response:
        if gate is not None and gate.admit(request, "read") != request.path_params["tenant"]:
            return problem(403, "this token is for another tenant")
        wanted = request.query_params.get("k", "20")
        k = min(int(wanted), MOST_SIMILAR) if wanted.isascii() and wanted.isdigit() else 20
        learner = app.river.learners.get(request.path_params["tenant"])
        top = learner.similar(request.path_params["item"], k) if learner and k else None
        answer = {
            "items": top.items if top else [],
            "scores": [float(score) for score in top.scores] if top else [],
        }
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return [*health_routes(app.not_ready), Route("/similar/{tenant}/{item:any}", similar)]
