"""Items near an item: the workers know, each of them; the API asks all and merges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from streams.api_answers import ApiError, SimilarItem, SimilarItems, answer
from streams.api_request import path_id, whole

if TYPE_CHECKING:
    import httpx

    from streams.api_parts import Api

ANSWER_SECONDS = 2.0
MOST_SIMILAR = 100


class Neighbours(Struct, frozen=True):
    """A worker's answer."""

    items: list[str]
    scores: list[float]


class SimilarClient:
    """Asks `GET {worker}/similar/{tenant}/{item}?k=` of every worker."""

    def __init__(self, worker_urls: Sequence[str], client: httpx.AsyncClient) -> None:
        self._urls = [url.rstrip("/") for url in worker_urls]
        self._client = client

    async def similar(
        self, tenant: str, item_id: str, k: int, authorization: str = ""
    ) -> list[SimilarItem]:
        """The k nearest, by the best score that any worker gave.

        Args:
            authorization: the caller's own, which the workers know too.

        Raises:
            ApiError: 503, no worker is named or none answers.
        """
        if not self._urls:
            raise ApiError(503, "set SPRINGTIDE_WORKER_URLS: the workers know similar items")
        # As it came: a header's bytes are Latin-1 here, and a client would take ASCII only.
        headers = {b"authorization": authorization.encode("latin-1")} if authorization else {}
        # A client takes segments that are dots out of a path, even where they are an id.
        item = quote(item_id, safe="").replace(".", "%2E")
        path = f"/similar/{tenant}/{item}?k={k}"
        answers = await asyncio.gather(*(self._ask(url + path, headers) for url in self._urls))
        heard = [each for each in answers if each is not None]
        if not heard:
            raise ApiError(503, "no worker answers: try again", {"retry-after": "2"})
        best: dict[str, float] = {}
        for each in heard:
            for item, score in zip(each.items, each.scores, strict=False):
                best[item] = max(score, best.get(item, score))
        nearest = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
        return [SimilarItem(item, round(score, 4)) for item, score in nearest]

    async def _ask(self, url: str, headers: dict[bytes, bytes]) -> Neighbours | None:
        import httpx

        try:
            response = await self._client.get(url, headers=headers, timeout=ANSWER_SECONDS)
            if response.status_code != httpx.codes.OK:
                return None
            return msgspec.json.decode(response.content, type=Neighbours)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError):
            return None


async def similar_items(api: Api, request: Request, tenant: str) -> Response:
    """GET /v1/items/{id}/similar"""
    item_id = path_id(request)
    k = whole(request, "n", 10, 1, MOST_SIMILAR)
    authorization = request.headers.get("authorization", "")
    found = await api.similar.similar(tenant, item_id, k, authorization)
    shown = [each for each in found if api.items.may_show(tenant, each.item_id)]
    return answer(SimilarItems(item_id, shown))
