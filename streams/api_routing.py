"""Operations become routes; whatever goes wrong becomes one line of JSON."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
    """A route for each path, with the operations on it."""
    paths = dict.fromkeys(operation.path for operation in OPERATIONS)
    return [
        _route(api, path, {each.method: each for each in OPERATIONS if each.path == path})
        for path in paths
    ]


def openapi_route() -> Route:
    """`/openapi.json`."""
    document = api_openapi.text()

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    return Route("/openapi.json", openapi)


def _route(api: Api, path: str, operations: dict[str, Operation]) -> Route:
    at_once: Counter[str] = Counter()  # by tenant: one must not take what is everybody's
    # Since an id may hold slashes, /v1/users/{id} would take /v1/users/a/recommendations too.
    longer = [o for o in OPERATIONS if o.path.startswith(f"{path}/") and path.endswith("{id}")]

    async def endpoint(request: Request) -> Response:
        operation = operations[request.method]
        began, status = time.perf_counter(), 500
        try:
            tenant = api.gate.admit(request, operation.scope)
            _not_for_another(request, path, longer)
            if at_once[tenant] >= MOST_AT_ONCE:
                raise ApiError(503, "too many requests at once: try again", LATER)
            with _one_of(at_once, tenant):
                response = await operation.handle(api, request, tenant)
            status = response.status_code
            return response
        except Exception as error:
            status = meaning(error, api.store.transient_errors).status
            raise
        finally:
            seconds = time.perf_counter() - began
            api.metrics.seconds.labels(operation.name, str(status)).observe(seconds)

    wildcard = path.replace("{id}", "{id:any}")  # see api_request
    methods = list(operations)
    route = Route(wildcard, endpoint, methods=methods)
    route.methods = set(methods)  # without HEAD, which Starlette adds and our document lacks
    return route


@contextmanager
def _one_of(at_once: Counter[str], tenant: str) -> Iterator[None]:
    at_once[tenant] += 1
    try:
        yield
    finally:
        at_once[tenant] -= 1
        if not at_once[tenant]:
            del at_once[tenant]


def _not_for_another(request: Request, path: str, longer: list[Operation]) -> None:
    """405 where the path, as it was written, is an operation's with more behind the id."""
    written = request.scope.get("raw_path", b"").decode("ascii", "replace")
    allowed = {o.method for o in longer if written.endswith(o.path.removeprefix(path))}
    if allowed:
        raise HTTPException(405, headers={"allow": ", ".join(sorted(allowed))})


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
