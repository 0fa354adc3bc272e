"""The client of the classifier server: slowness is back-pressure, absence is bridged.

A server that is away or full for longer than our patience is not waited for: the fallback answers,
and the server is asked once more with every batch, but that one which let us wait in vain is left
alone for as long as that took. Without a fallback we ask as long as it takes. A server says how
many texts it takes at once: more are asked in parts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Literal, Protocol

import aiohttp
import msgspec
from msgspec import Struct

from infra.telemetry import get_logger

log = get_logger("score")

TOO_MANY = 413  # texts in one request
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

    label: Literal["negative", "neutral", "positive"]
    score: float
    flagged: bool = False


class Info(Struct, frozen=True):
    """What a server says of itself."""

    model_version: str = "unknown"
    max_client_batch_size: int = 1_024


class Fallback(Protocol):
    """Answers where the server does not."""

    def predict(self, texts: Sequence[str], served: str = "") -> list[Answer]:
        """One answer a text, in order; `served`: the version that the server answered with last."""


class ClassifierClient:
    """Asks the classifier server.

    Attributes:
        fallback: also for who cannot wait for the server.
        version: what the server answered with last; empty before.

    Args:
        fallback: answers once the server has not for `patience` seconds; None: it is waited for.
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
        self.fallback = fallback
        self._patience = patience
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._failing_since: float | None = None
        self._alone_until = 0.0
        self._session: aiohttp.ClientSession | None = None
        self._most = 0  # texts of a request; 0: to be asked
        self._decode = msgspec.json.Decoder(list[list[LabelScore]]).decode
        self.version = ""

    async def start(self) -> None:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(headers=self._headers)

    async def stop(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def predict(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in order; retries until the server answers, or patience ends."""
        if self.fallback is not None and time.monotonic() < self._alone_until:
            return self.fallback.predict(texts, self.version)
        attempt = 0
        while True:
            wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            attempt += 1
            began = time.monotonic()
            try:
                answers = await self._ask(texts)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                if isinstance(error, aiohttp.ClientResponseError) and error.status == TOO_MANY:
                    self._most = 0  # started again, it takes fewer
                if self.fallback is not None and self._out_of_patience(began):
                    if isinstance(error, TimeoutError):
                        self._alone_until = 2 * time.monotonic() - began
                    log.warning("classifier.fallback", error=type(error).__name__, texts=len(texts))
                    return self.fallback.predict(texts, self.version)
                log.warning("classifier.retry", error=type(error).__name__, wait_seconds=wait)
            else:
                self._failing_since = None
                return answers
            await asyncio.sleep(wait)

    def _out_of_patience(self, began: float) -> bool:
        if self._failing_since is None:
            self._failing_since = began
        return time.monotonic() - self._failing_since >= self._patience

    def _seconds(self) -> float:
        """How long one attempt may take."""
        if self.fallback is None:
            return TIMEOUT_SECONDS
        return self._patience if self._failing_since is None else TIMEOUT_WHILE_FAILING

    async def _ask(self, texts: Sequence[str]) -> list[Answer]:
        """Answers to all of the texts.

        Raises:
            aiohttp.ClientError, TimeoutError, ValueError: there are none; the last: of another
                shape.
        """
        if self._session is None:
            raise RuntimeError("start the client first")
        timeout = aiohttp.ClientTimeout(total=self._seconds())
        if not self._most:
            async with self._session.get(f"{self._url}/info", timeout=timeout) as info:
                info.raise_for_status()
                told = msgspec.json.decode(await info.read(), type=Info)
                self.version, self._most = told.model_version, max(1, told.max_client_batch_size)
        return [
            answer
            for start in range(0, len(texts), self._most)
            for answer in await self._ask_part(self._session, texts[start : start + self._most])
        ]

    async def _ask_part(self, session: aiohttp.ClientSession, texts: Sequence[str]) -> list[Answer]:
        body = msgspec.json.encode({"inputs": [[text] for text in texts]})
        headers = {"content-type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=self._seconds())
        async with session.post(
            f"{self._url}/predict", data=body, headers=headers, timeout=timeout
        ) as answer:
            answer.raise_for_status()
            rows = self._decode(await answer.read())
            if len(rows) != len(texts):
                raise ValueError(f"{len(rows)} answers to {len(texts)} texts")
            # It may have changed since: versions are exchanged while the server answers.
            self.version = answer.headers.get("x-model-version", self.version)
        return [_answer(row, self.version) for row in rows]


def _answer(row: Sequence[LabelScore], version: str) -> Answer:
    scores = {entry.label: min(1.0, max(0.0, entry.score)) for entry in row}
    if len(scores) != 3:
        raise ValueError(f"an answer of {len(scores)} labels")
    return Answer(**scores, flagged=any(entry.flagged for entry in row), version=version)
