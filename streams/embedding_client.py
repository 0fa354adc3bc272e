"""The client of the classifier server's /embed: one attempt, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import aiohttp
import msgspec
import numpy as np
from msgspec import Struct

from online.arrays import F32

PREFIX = "query: "  # e5 was trained with one before every text; a server may know of another
TOKENS = 32  # of an item: its name and its first tags; more blur what it is about
MOST_CHARACTERS = 1_000
TIMEOUT_SECONDS = 30.0
REFUSED = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.FAILED_DEPENDENCY,  # the device failed: on one of these texts, or on any
)


class AwayError(Exception):
    """The server is away, full or not itself: ask again later."""


class RefusedError(Exception):
    """The server does not take these texts: asked one by one, others may be taken."""


class Embedded(Struct, frozen=True):
    """A vector a text, float32[texts, d], and the version of the model that made them."""

    vectors: F32
    version: str


class _Info(Struct):
    embedding_prefix: str = PREFIX


class EmbeddingClient:
    """Asks the classifier server, or another that speaks as TEI does.

    Args:
        token: of the scope read, for a server that asks for one.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None
        self._decode = msgspec.json.Decoder(list[list[float]]).decode
        self._prefix: str | None = None  # not asked for yet
        self._version = ""

    async def start(self) -> None:
        """Open the connection pool."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)

    async def stop(self) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def embed(self, texts: Sequence[str], urgent: bool) -> Embedded:
        """One vector a text, in order.

        Args:
            urgent: as comments are; otherwise they go first.

        Raises:
            AwayError, RefusedError: there are none.
        """
        headers = {
            "content-type": "application/json",
            "x-priority": "normal" if urgent else "low",
        }
        if self._session is None:
            raise RuntimeError("start the client first")
        try:
            if self._prefix is None:
                self._prefix = await self._asked_for(self._session)
            inputs = [self._prefix + text[:MOST_CHARACTERS] for text in texts]
            body = msgspec.json.encode({"inputs": inputs, "max_tokens": TOKENS, "head": "items"})
            async with self._session.post(
                f"{self._url}/embed", data=body, headers=headers
            ) as answer:
                if answer.status in REFUSED:
                    told = (await answer.read())[:200].decode("utf-8", "replace")
                    raise RefusedError(f"{answer.status} {told}")
                answer.raise_for_status()
                rows = self._decode(await answer.read())
                version = answer.headers.get("x-model-version", "unknown")
            if version != self._version:  # another model wants another prefix, perhaps
                before, self._prefix = self._prefix, await self._asked_for(self._session)
                self._version = version
                if self._prefix != before:
                    raise AwayError("exchanged its model for one with another prefix")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AwayError(type(error).__name__) from None
        return Embedded(_as_matrix(rows, len(texts)), version)

    async def _asked_for(self, session: aiohttp.ClientSession) -> str:
        """What a text begins with, as the trunk there was trained; E5's where it says nothing."""
        async with session.get(f"{self._url}/info") as answer:
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                answer.raise_for_status()
            try:
                told = msgspec.json.decode(await answer.read(), type=_Info)
            except msgspec.DecodeError:  # it has no such page
                told = _Info()
        return told.embedding_prefix


def _as_matrix(rows: list[list[float]], texts: int) -> F32:
    widths = {len(row) for row in rows}
    if len(rows) != texts or len(widths) != 1 or widths == {0}:
        raise AwayError(f"{len(rows)} vectors of widths {sorted(widths)} for {texts} texts")
    vectors = np.array(rows, np.float32)
    if not np.isfinite(vectors).all():
        raise AwayError("a vector is not finite")
    return vectors
