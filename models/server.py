"""The classifier over HTTP: TEI's `/predict`, `/embed`, `/info` and `/health`.

`/livez`, `/readyz` and `/metrics` are added by the command, like in every process of ours. The
routes answer 503 until the model is loaded, 429 with `Retry-After` while the queue is full, 413 and
422 with a message for a body that cannot be used, 424 when the device fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from models import wire
from models.batching import CAPACITY, Batcher
from models.classifier import Classifier
from models.data import LABELS
from models.errors import OverloadedError
from models.hygiene import MAX_CHARACTERS
from models.metrics import ClassifierMetrics

MAX_BODY_BYTES = 8 * 1024 * 1024  # 64 comments of 10,000 characters, with room to spare
HUNG_UP = 499  # nobody reads it; it counts in the metrics

T = TypeVar("T")


class Service:
    """The model and its queue, once loaded; before that every question is answered 503."""

    def __init__(self, metrics: ClassifierMetrics, capacity: int = CAPACITY) -> None:
        self.metrics = metrics
        self._capacity = capacity
        # Torch's threads belong to the thread that starts them: load and score in the same one.
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._classifier: Classifier | None = None
        self._batcher: Batcher | None = None

    async def load(self, make: Callable[[], Classifier]) -> Classifier:
        """Load and warm the model in the device's thread, then take questions.

        Raises:
            ModelError: the artifact or the trunk cannot be used.
        """
        loop = asyncio.get_running_loop()
        classifier = await loop.run_in_executor(self._device, make)
        await loop.run_in_executor(self._device, classifier.warm_up)
        self._batcher = Batcher(classifier, self._device, self.metrics, self._capacity)
        self._batcher.start()
        self._classifier = classifier
        return classifier

    async def stop(self) -> None:
        """Stop taking questions; a batch on the device is finished."""
        if self._batcher is not None:
            await self._batcher.stop()
        self._device.shutdown(wait=False, cancel_futures=True)

    def not_ready(self) -> str:
        """What is missing, empty once ready."""
        return "" if self._classifier is not None else "loading the model"

    def routes(self) -> list[Route]:
        """TEI's routes."""
        return [
            Route("/predict", self._counted("/predict", self._predict), methods=["POST"]),
            Route("/embed", self._counted("/embed", self._embed), methods=["POST"]),
            Route("/info", self._counted("/info", self._info)),
            Route("/health", self._health),
        ]

    async def _predict(self, request: Request) -> Response:
        batcher = self._ready()
        inputs = wire.read_inputs(await _body(request), min(wire.MAX_TEXTS, batcher.capacity))
        answers = await _unless_hung_up(request, batcher.predict(inputs.items))
        labels = [wire.as_labels(each.prediction, each.error) for each in answers]
        return _json(labels[0] if inputs.single else labels)

    async def _embed(self, request: Request) -> Response:
        batcher = self._ready()
        texts = wire.read_texts(await _body(request), min(wire.MAX_TEXTS, batcher.capacity))
        vectors = await _unless_hung_up(request, batcher.embed(texts))
        return _json([vector.tolist() for vector in vectors])

    async def _info(self, _: Request) -> Response:
        batcher = self._ready()
        classifier = self._classifier
        if classifier is None:
            raise _NotReadyError
        return _json(
            {
                "model_id": "springtide-sentiment",
                "model_version": classifier.model_version,
                "model_sha": classifier.manifest.sha256.get("adapter.safetensors"),
                "model_dtype": classifier.dtype,
                "model_type": {
                    "classifier": {
                        "id2label": {str(i): label for i, label in enumerate(LABELS)},
                        "label2id": {label: i for i, label in enumerate(LABELS)},
                    }
                },
                "trunk": classifier.manifest.trunk,
                "trained_on": sorted(classifier.manifest.trained_rows),
                "device": classifier.device,
                "max_input_length": classifier.manifest.max_tokens,
                "max_input_characters": MAX_CHARACTERS,
                "max_batch_tokens": classifier.budget,
                "max_client_batch_size": min(wire.MAX_TEXTS, batcher.capacity),
                "max_queued_texts": batcher.capacity,
            }
        )

    async def _health(self, _: Request) -> Response:
        return Response(self.not_ready(), status_code=503 if self.not_ready() else 200)

    def _ready(self) -> Batcher:
        if self._batcher is None or self._classifier is None:
            raise _NotReadyError
        return self._batcher

    def _counted(
        self, route: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def endpoint(request: Request) -> Response:
            response = await _or_refusal(answer(request))
            self.metrics.requests.labels(route, str(response.status_code)).inc()
            return response

        return endpoint


class _NotReadyError(Exception):
    """The model is not loaded yet."""


async def _or_refusal(answer: Awaitable[Response]) -> Response:
    """The answer, or TEI's `{"error", "error_type"}` with the status that fits."""
    try:
        return await answer
    except wire.BadRequestError as error:
        return _refusal(error.status, str(error), "Validation")
    except OverloadedError as error:
        return _refusal(429, str(error), "Overloaded", error.retry_after_seconds)
    except _NotReadyError:
        return _refusal(503, "the model is loading", "Unhealthy", 1)
    except ClientDisconnect:
        return Response(status_code=HUNG_UP)
    except (RuntimeError, ArithmeticError) as error:
        return _refusal(424, f"the device failed ({type(error).__name__})", "Backend", 1)


def _refusal(status: int, message: str, kind: str, retry_after: int | None = None) -> Response:
    response = _json({"error": message, "error_type": kind})
    response.status_code = status
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response


def _json(answer: list[Any] | dict[str, object]) -> Response:
    return Response(wire.encode(answer), media_type="application/json")


async def _body(request: Request) -> bytes:
    """The body, never more than `MAX_BODY_BYTES` of it in memory."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise wire.BadRequestError(413, f"a body may have {MAX_BODY_BYTES:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def _unless_hung_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; the work is cancelled when the caller hangs up first."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
