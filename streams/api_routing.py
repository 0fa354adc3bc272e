"""Operations become routes; whatever goes wrong becomes one line of JSON."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.telemetry import get_logger
from infra.warehouse import TransientError, WarehouseError
from streams import api_openapi
from streams.api_answers import ApiError, problem
from streams.api_operations import OPERATIONS, Operation
from streams.api_parts import Api

log = get_logger("api")

MOST_AT_ONCE = 256
LATER = {"retry-after": "1"}


def operation_routes(api: Api) -> list[Route]:
    """A route for each operation."""
    return [_route(api, operation) for operation in OPERATIONS]


def openapi_route() -> Route:
    """`/openapi.json`."""
    document = api_openapi.text()

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    return Route("/openapi.json", openapi)


def _route(api: Api, operation: Operation) -> Route:
    at_once = 0

    async def endpoint(request: Request) -> Response:
        nonlocal at_once
        began, status = time.perf_counter(), 500
        at_once += 1
        try:
            tenant = api.gate.admit(request, operation.scope)
            if at_once > MOST_AT_ONCE:
                raise ApiError(503, "too many requests at once: try again", LATER)
            response = await operation.handle(api, request, tenant)
            status = response.status_code
            return response
        except Exception as error:
            status = meaning(error, api.store.transient_errors).status
            raise
        finally:
            at_once -= 1
            seconds = time.perf_counter() - began
            api.metrics.seconds.labels(operation.name, str(status)).observe(seconds)

    path = operation.path.replace("{id}", "{id:path}")
    return Route(path, endpoint, methods=[operation.method], name=operation.name)


def meaning(error: Exception, redis_away: tuple[type[Exception], ...]) -> ApiError:
    """What an exception means to whoever asked."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        hint = ": see /openapi.json" if error.status_code in (404, 405) else ""
        headers = dict(error.headers or {})
        return ApiError(error.status_code, f"{error.detail}{hint}", headers)
    if isinstance(error, TransientError):
        return ApiError(503, "ClickHouse does not answer: try again", LATER)
    if isinstance(error, WarehouseError):
        line = "ClickHouse refuses: is it migrated? (`springtide warehouse migrate`)"
        return ApiError(503, line, {"retry-after": "60"})
    if isinstance(error, (*redis_away, OSError)):
        return ApiError(503, "Redis does not answer: try again", LATER)
    return ApiError(500, "a mistake of ours: see the API's log")


def error_handlers(
    redis_away: tuple[type[Exception], ...],
) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """Starlette's exception handlers; an exception that nobody foresaw is logged besides."""

    async def handle(_: Request, error: Exception) -> Response:
        if isinstance(error, WarehouseError):
            log.error("clickhouse.refused", error=str(error)[:300])
        found = meaning(error, redis_away)
        return problem(found.status, found.message, found.headers)

    foreseen = (ApiError, HTTPException, TransientError, WarehouseError, OSError, *redis_away)
    return dict.fromkeys((*foreseen, Exception), handle)
