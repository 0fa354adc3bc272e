"""What the API's operations stand on, gathered once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
from msgspec import Struct

from dashboards.live import Live
from infra.alert_marks import AlertMarks
from infra.metrics import ApiMetrics
from infra.serving import AsyncRedisTopKStore
from infra.settings import Settings
from streams.api_access import Gate
from streams.api_answers import ApiError
from streams.api_catalogue import KnownItems
from streams.api_interests import Suggestions
from streams.api_served import ServedRecorder
from streams.api_similar import SimilarClient
from streams.intake import Intake
from streams.outlet import Outgoing, Outlet

KAFKA_SECONDS = 5.0


class Api(Struct, frozen=True):
    """The API's parts; the operations get them as their first argument."""

    settings: Settings
    gate: Gate
    store: AsyncRedisTopKStore
    outlet: Outlet
    live: Live
    items: KnownItems
    recorder: ServedRecorder
    similar: SimilarClient
    suggestions: Suggestions
    intake: Intake
    metrics: ApiMetrics
    marks: AlertMarks
    http: httpx.AsyncClient

    async def to_kafka(self, records: Sequence[Outgoing]) -> None:
        """Write, and return once Kafka has them.

        Raises:
            ApiError: 503, Kafka does not answer; it may or may not have them, ids count once.
        """
        try:
            await asyncio.wait_for(self.outlet.write(records), KAFKA_SECONDS)
        except TimeoutError:
            raise ApiError(
                503, "Kafka does not answer: send the same again later", {"retry-after": "5"}
            ) from None
