"""The ops page at `/`, and the JSON that it asks for once a second under `/ops/`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from dashboards import alerts, user_lists
from dashboards.live import WINDOWS, Live
from dashboards.panels import BY_ID, PANELS
from dashboards.user_lists import Action, ItemNamer, Lists
from infra.warehouse import TransientError

STATIC = Path(__file__).parent / "static"
ALERT_DAYS = 30
ACTION_HOURS = 24
MOST_USER_CHARACTERS = 128

# Everything the page needs comes from here: no script, style or request may name another place.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class Ops(Struct, frozen=True):
    """What the page stands on.

    Attributes:
        tenant_of: the tenant that a request may see; raises what the caller's app answers.
        item_words: (tenant, item) → title and topics, for an unknown item its id.
        user_key: (tenant, user) → the pseudonym that the warehouse knows.
    """

    live: Live
    lists: Lists
    tenant_of: Callable[[Request], str]
    item_words: ItemNamer
    user_key: Callable[[str, str], str]


def ops_routes(ops: Ops) -> list[BaseRoute]:
    """The page, its files, and its data. Errors of Redis pass to the caller's app."""

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=HEADERS)

    async def panels(request: Request) -> Response:
        ops.tenant_of(request)
        return _json({"windows": list(WINDOWS), "panels": PANELS})

    async def data(request: Request) -> Response:
        tenant = ops.tenant_of(request)
        panel = BY_ID.get(request.path_params["panel"])
        window = _window(request)
        if panel is None or window is None:
            return _json(
                {"error": f"ask for a panel of /ops/panels, window one of {list(WINDOWS)}"}, 404
            )
        return await _or_away(ops.live.chart(panel, tenant, window))

    async def users(request: Request) -> Response:
        tenant = ops.tenant_of(request)
        return _json(await user_lists.recent_lists(ops.lists, tenant, ops.item_words))

    async def user(request: Request) -> Response:
        tenant, name = ops.tenant_of(request), request.path_params["user"]
        if not 0 < len(name) <= MOST_USER_CHARACTERS:
            return _json({"error": f"a user id has 1 to {MOST_USER_CHARACTERS} characters"}, 400)
        return _json(await user_lists.one_list(ops.lists, tenant, name, ops.item_words))

    async def actions(request: Request) -> Response:
        tenant = ops.tenant_of(request)
        key = ops.user_key(tenant, request.path_params["user"])
        return await _or_away(_actions(ops, tenant, key))

    async def raised(request: Request) -> Response:
        tenant, first = ops.tenant_of(request), request.query_params.get("first", "")
        return await _or_away(_alerts(ops, tenant, first[:MOST_USER_CHARACTERS]))

    return [
        Route("/", page),
        Mount("/static", _Static(directory=STATIC)),
        Route("/ops/panels", panels),
        Route("/ops/data/{panel}", data),
        Route("/ops/users", users),
        Route("/ops/users/{user:path}/actions", actions),
        Route("/ops/users/{user:path}", user),
        Route("/ops/alerts", raised),
    ]


class _Static(StaticFiles):
    """The page's files, with its headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


async def _actions(ops: Ops, tenant: str, user_key: str) -> list[Action]:
    since = datetime.now(UTC) - timedelta(hours=ACTION_HOURS)
    parameters = {"tenant": tenant, "user_key": user_key, "since": since}
    rows = await ops.live.query(user_lists.ACTIONS, parameters)
    return [
        Action(
            row["type"],
            row["item_id"],
            ops.item_words(tenant, row["item_id"]).title,
            row["received_at"].replace(tzinfo=UTC),
        )
        for row in rows
    ]


async def _alerts(ops: Ops, tenant: str, first: str) -> list[alerts.AlertView]:
    since = datetime.now(UTC) - timedelta(days=ALERT_DAYS)
    asked = alerts.parameters(tenant, since, first=first, firing_first=True)
    return alerts.views(await ops.live.query(alerts.ALERTS, asked))


async def _or_away(answer: Any) -> Response:
    try:
        return _json(await answer)
    except TransientError:
        error = {"error": "ClickHouse does not answer: trying again"}
        return _json(error, 503, {"retry-after": "1"})


def _window(request: Request) -> int | None:
    text = request.query_params.get("window", str(min(WINDOWS)))
    return next((window for window in WINDOWS if str(window) == text), None)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(value),
        status,
        {"cache-control": "no-store", **(headers or {})},
        media_type="application/json",
    )
