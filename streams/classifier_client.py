"""The client of the classifier server: asks as long as it takes; slowness is back-pressure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec
from msgspec import Struct

from infra.telemetry import get_logger

log = get_logger("score")

TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)


class Answer(Struct, frozen=True):
    """Probabilities by label; `flagged`: there was nothing to read, and neutral is no opinion."""

    negative: float
    neutral: float
    positive: float
    flagged: bool = False

    @property
    def label(self) -> str:
        """The likeliest."""
        return max(("negative", "neutral", "positive"), key=lambda name: getattr(self, name))


class LabelScore(Struct, frozen=True):
    """One label of a TEI-shaped prediction."""

    label: str
    score: float
    flagged: bool = False


class ClassifierClient:
    """Asks the classifier server; waits for it as long as it takes (back-pressure)."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._decode = msgspec.json.Decoder(list[list[LabelScore]]).decode
        self.version = ""

    async def start(self) -> None:
        """Open the connection pool and learn the model's version."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def stop(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def predict(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in order; retries until the server answers."""
        body = msgspec.json.encode({"inputs": [[text] for text in texts]})
        attempt = 0
        while True:
            wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            attempt += 1
            try:
                return await self._ask(body)
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                log.warning("classifier.retry", error=type(error).__name__, wait_seconds=wait)
            await asyncio.sleep(wait)

    async def _ask(self, body: bytes) -> list[Answer]:
        if self._session is None:
            raise RuntimeError("start the client first")
        if not self.version:
            async with self._session.get(f"{self._url}/info") as info:
                info.raise_for_status()
                self.version = str((await info.json()).get("model_version", "unknown"))
        headers = {"content-type": "application/json"}
        async with self._session.post(f"{self._url}/predict", data=body, headers=headers) as answer:
            answer.raise_for_status()
            rows = self._decode(await answer.read())
        return [_answer(row) for row in rows]


def _answer(row: Sequence[LabelScore]) -> Answer:
    scores = {entry.label: min(1.0, max(0.0, entry.score)) for entry in row}
    return Answer(**scores, flagged=any(entry.flagged for entry in row))
