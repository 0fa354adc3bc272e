"""`create_api`: the one place where the parts of the API meet; its life and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from dashboards.live import Live
from dashboards.metric_history import MetricHistory
from dashboards.ops_page import Ops, ops_routes
from infra.alert_marks import AlertMarks
from infra.health import health_routes
from infra.metrics import ApiMetrics
from infra.pseudonym import Pseudonymiser
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from infra.warehouse import Warehouse
from streams.api_access import Gate
from streams.api_catalogue import KnownItems
from streams.api_doors import Doors, Pace
from streams.api_interests import Suggestions
from streams.api_parts import Api
from streams.api_routing import error_handlers, openapi_route, operation_routes
from streams.api_served import ServedRecorder
from streams.api_similar import SimilarClient
from streams.fatal import or_die
from streams.intake import Intake
from streams.outlet import Outlet

LOOK_SECONDS = 1.0


class ApiApp:
    """The API's parts and what runs behind it; `asgi` answers requests."""

    def __init__(
        self, settings: Settings, store: AsyncRedisTopKStore, gate: Gate, metrics: ApiMetrics
    ) -> None:
        self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        workers = [url.strip() for url in settings.worker_urls.split(",") if url.strip()]
        self._warehouse = Warehouse(settings.clickhouse_url.get_secret_value())
        self._history = MetricHistory(workers, self._client)
        kafka_url = settings.kafka_url.get_secret_value()
        outlet = Outlet(kafka_url)
        self.api = Api(
            settings=settings,
            gate=gate,
            store=store,
            outlet=outlet,
            live=Live(self._warehouse, self._history),
            items=KnownItems(kafka_url, settings.max_items, settings.hold_items),
            recorder=ServedRecorder(outlet, metrics),
            similar=SimilarClient(workers, self._client),
            suggestions=Suggestions(),
            intake=Intake(settings.max_age_seconds),
            metrics=metrics,
            marks=AlertMarks(self._warehouse),
            http=self._client,
        )
        self._redis_away = "looking for Redis"
        self._redis_answers = asyncio.Event()
        pseudonyms = Pseudonymiser.from_settings(settings.pseudonym_key_file, settings.data_dir)
        self._ops = Ops(
            live=self.api.live,
            lists=store,
            tenant_of=lambda request: gate.admit(request, "read"),
            item_words=self.api.items.words,
            user_key=pseudonyms.user_key,
        )
        inner = Starlette(
            routes=self._routes(),
            lifespan=self._lifespan,
            exception_handlers=error_handlers(store.transient_errors),
        )
        pace = Pace(settings.api_requests_per_second)
        self.asgi: ASGIApp = Doors(inner, gate, pace, self._refused)

    def _refused(self, status: int, seconds: float) -> None:
        self.api.metrics.seconds.labels("doors", str(status)).observe(seconds)

    def not_ready(self) -> str:
        """What is still missing before the API is of use; empty once ready."""
        if self._redis_away:
            return self._redis_away
        return "" if self.api.items.caught_up.is_set() else "reading the catalogue"

    async def ready(self) -> None:
        """Return once the API is of use."""
        await self._redis_answers.wait()
        await self.api.items.caught_up.wait()

    def _routes(self) -> list[BaseRoute]:
        return [
            *health_routes(self.not_ready),
            *operation_routes(self.api),
            openapi_route(),
            *ops_routes(self._ops),
        ]

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self.api.outlet.start()
        runs: tuple[Coroutine[Any, Any, None], ...] = (
            self.api.items.run(),
            self.api.recorder.run(),
            self._history.run(),
            self._look_for_redis(),
        )
        tasks = [asyncio.create_task(or_die(run)) for run in runs]
        try:
            yield
        finally:
            await self.api.recorder.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.api.outlet.stop()
            await self._client.aclose()
            await self.api.store.close()
            self.api.live.close()
            self._warehouse.close()

    async def _look_for_redis(self) -> None:
        away = self.api.store.transient_errors
        while True:
            try:
                await self.api.store.popular("default")
                self._redis_away = ""
                self._redis_answers.set()
            except away:
                self._redis_away = "Redis does not answer"
            await asyncio.sleep(LOOK_SECONDS)


def create_api(
    settings: Settings,
    store: AsyncRedisTopKStore,
    gate: Gate,
    metrics: ApiMetrics | None = None,
) -> ApiApp:
    """Build the API; nothing but Redis is connected before it serves."""
    return ApiApp(settings, store, gate, metrics or ApiMetrics())
