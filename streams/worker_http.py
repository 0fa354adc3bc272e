"""What a worker answers over HTTP: health, metrics, and items near an item, for the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.health import health_routes

if TYPE_CHECKING:
    from streams.app import App

MOST_SIMILAR = 100


def worker_routes(app: App) -> list[Route]:
    """`/livez`, `/readyz`, `/metrics`, and `/similar/{tenant}/{item}?k=`."""

    async def similar(request: Request) -> Response:
        wanted = request.query_params.get("k", "20")
        k = min(int(wanted), MOST_SIMILAR) if wanted.isascii() and wanted.isdigit() else 20
        learner = app.river.learners.get(request.path_params["tenant"])
        top = learner.similar(request.path_params["item"], k) if learner and k else None
        answer = {
            "items": top.items if top else [],
            "scores": [float(score) for score in top.scores] if top else [],
        }
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return [*health_routes(app.not_ready), Route("/similar/{tenant}/{item:path}", similar)]
