"""The client of the classifier server: slowness is back-pressure, absence is bridged.

A server that is away or full for longer than our patience is not waited for: the fallback answers,
and the server is asked once more with every batch. Without a fallback we ask as long as it takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

import aiohttp
import msgspec
from msgspec import Struct

from infra.telemetry import get_logger

log = get_logger("score")

TIMEOUT_SECONDS = 30.0
TIMEOUT_WHILE_FAILING = 5.0
PATIENCE_SECONDS = 15.0  # longer than a server that is started again needs
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)


class Answer(Struct, frozen=True):
    """Probabilities by label; `flagged`: there was nothing to read, and neutral is no opinion.

    `version` names the model that answered.
    """

    negative: float
    neutral: float
    positive: float
    flagged: bool = False
    version: str = ""

    @property
    def label(self) -> str:
        """The likeliest."""
        return max(("negative", "neutral", "positive"), key=lambda name: getattr(self, name))


class LabelScore(Struct, frozen=True):
    """One label of a TEI-shaped prediction."""

    label: str
    score: float
    flagged: bool = False


class Fallback(Protocol):
    """Answers where the server does not."""

    def predict(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in order."""


class ClassifierClient:
    """Asks the classifier server.

    Args:
        fallback: answers once the server has failed for `patience` seconds; None: it is waited for.
        token: of the scope read, for a server that asks for one.
    """

    def __init__(
        self,
        url: str,
        fallback: Fallback | None = None,
        patience: float = PATIENCE_SECONDS,
        token: str = "",
    ) -> None:
        self._url = url.rstrip("/")
        self._fallback = fallback
        self._patience = patience
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._failing_since: float | None = None
        self._session: aiohttp.ClientSession | None = None
        self._decode = msgspec.json.Decoder(list[list[LabelScore]]).decode
        self.version = ""

    async def start(self) -> None:
        """Open the connection pool and learn the model's version."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)

    async def stop(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def predict(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in order; retries until the server answers, or patience ends."""
        body = msgspec.json.encode({"inputs": [[text] for text in texts]})
        attempt = 0
        while True:
            wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            attempt += 1
            try:
                answers = await self._ask(body)
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                if self._fallback is not None and self._out_of_patience():
                    log.warning("classifier.fallback", error=type(error).__name__, texts=len(texts))
                    return self._fallback.predict(texts)
                log.warning("classifier.retry", error=type(error).__name__, wait_seconds=wait)
            else:
                self._failing_since = None
                return answers
            await asyncio.sleep(wait)

    def _out_of_patience(self) -> bool:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return now - self._failing_since >= self._patience

    async def _ask(self, body: bytes) -> list[Answer]:
        if self._session is None:
            raise RuntimeError("start the client first")
        if not self.version:
            async with self._session.get(f"{self._url}/info") as info:
                info.raise_for_status()
                self.version = str((await info.json()).get("model_version", "unknown"))
        headers = {"content-type": "application/json"}
        seconds = TIMEOUT_SECONDS if self._failing_since is None else TIMEOUT_WHILE_FAILING
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._session.post(
            f"{self._url}/predict", data=body, headers=headers, timeout=timeout
        ) as answer:
            answer.raise_for_status()
            rows = self._decode(await answer.read())
            # It may have changed since: versions are exchanged while the server answers.
            self.version = answer.headers.get("x-model-version", self.version)
        return [_answer(row, self.version) for row in rows]


def _answer(row: Sequence[LabelScore], version: str) -> Answer:
    scores = {entry.label: min(1.0, max(0.0, entry.score)) for entry in row}
    return Answer(**scores, flagged=any(entry.flagged for entry in row), version=version)
