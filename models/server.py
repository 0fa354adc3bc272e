"""The classifier over HTTP: TEI's routes, KServe v2, OpenAI's moderation, Perspective's analyze.

`/livez`, `/readyz` and `/metrics` are added by the command, like in every process of ours. The
routes answer 503 until the model is loaded, 429 with `Retry-After` while the queue or the memory
for bodies is full, 408, 413 and 422 with a message for a body that cannot be used, 424 when the
device fails, 504 when the caller's deadline passed. Two headers are understood everywhere:
`x-priority` (high, normal, low) and `x-timeout-ms`, counted from the request's arrival.
`x-model-version` says who answered: the artifact; for `/embed` the trunk, whose adapter is off, or
what made the vectors of items.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from models import protocols, wire
from models.batching import Answers, Batcher
from models.bodies import Bodies
from models.classifier import Classifier
from models.data import LABELS
from models.errors import DeadlineError, DeviceError, OverloadedError
from models.hygiene import MAX_CHARACTERS
from models.openapi import text as openapi_text
from models.service import Service
from models.waiting import Ask, Priority

HUNG_UP = 499  # nobody reads it; it counts in the metrics
PRIORITIES = {each.name.lower(): each for each in Priority}

T = TypeVar("T")

log = structlog.get_logger("classifier")


class Ready(NamedTuple):
    """The model that is current when a request arrives, and its queue."""

    batcher: Batcher
    classifier: Classifier
    most: int

    def predict(self, texts: Sequence[object], ask: Ask) -> Coroutine[Any, Any, Answers]:
        """By the version that the request was read for: another may have other heads."""
        return self.batcher.predict(texts, ask, self.classifier)


class Server:
    """The routes of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._bodies = Bodies()

    def routes(self) -> list[Route]:
        """All of them, in the order of the OpenAPI document."""
        asked = {
            "/predict": self._predict,
            "/embed": self._embed,
            "/v2/models/springtide/infer": self._infer,
            "/v1/moderations": self._moderate,
            "/v1alpha1/comments:analyze": self._analyze,
        }
        return [
            *(
                Route(path, self._counted(path, each), methods=["POST"])
                for path, each in asked.items()
            ),
            Route("/info", self._counted("/info", self._info)),
            Route("/health", self._health),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._health),
            Route("/v2/models/springtide", self._counted("/v2/models/springtide", self._metadata)),
            Route("/v2/models/springtide/ready", self._health),
            Route("/openapi.json", self._openapi),
        ]

    async def _predict(self, request: Request) -> Response:
        ready, ask = self._ready(), _ask(request)
        inputs = wire.read_inputs(await self._bodies.read(request), ready.most)
        topics = {name: head.labels for name, head in ready.classifier.topics.items()}
        if inputs.head != wire.SENTIMENT and inputs.head not in topics:
            known = ", ".join([wire.SENTIMENT, *topics])
            raise wire.BadRequestError(422, f"no head {inputs.head!r}: there are {known}")
        wanted = Ask(ask.priority, ask.deadline, topics=inputs.head != wire.SENTIMENT)
        found = await _unless_hung_up(request, ready.predict(inputs.items, wanted))
        if wanted.topics:
            labels = topics[inputs.head]
            rows = [wire.as_topics(each.prediction, inputs.head, labels) for each in found.items]
        else:
            rows = [wire.as_labels(each.prediction, each.error) for each in found.items]
        return self._answer(rows[0] if inputs.single else rows, found)

    async def _embed(self, request: Request) -> Response:
        ready, ask = self._ready(), _ask(request)
        asked = wire.read_texts(await self._bodies.read(request), ready.most)
        wanted = Ask(ask.priority, ask.deadline, False, asked.max_tokens, asked.by_ranker)
        work = ready.batcher.embed(asked.items, wanted)
        found = await _unless_hung_up(request, work)
        answer = self._answer([vector.tolist() for vector in found.items])
        model = found.model
        made_by = model.items_version if asked.by_ranker else model.embedding_version
        answer.headers["x-model-version"] = made_by
        return answer

    async def _infer(self, request: Request) -> Response:
        arrived, ready, ask = time.perf_counter(), self._ready(), _ask(request)
        asked = protocols.read(await self._bodies.read(request), protocols.InferRequest)
        texts = protocols.infer_texts(asked, ready.most)
        deadline = ask.deadline
        if asked.parameters.timeout:
            deadline = min(deadline, arrived + asked.parameters.timeout / 1e6)
        urgency = protocols.priority(asked) if asked.parameters.priority else ask.priority
        wanted = Ask(urgency, deadline, protocols.topics_wanted(asked))
        sizes = {name: len(head.labels) for name, head in ready.classifier.topics.items()}
        protocols.check_outputs(asked, sizes)
        found = await _unless_hung_up(request, ready.predict(texts, wanted))
        version = found.model.model_version
        return self._answer(protocols.infer_answer(asked, found.items, version, sizes), found)

    async def _moderate(self, request: Request) -> Response:
        ready, ask = self._ready(), _ask(request)
        asked = protocols.read(await self._bodies.read(request), protocols.ModerationRequest)
        given = [asked.input] if isinstance(asked.input, str) else asked.input
        texts = protocols.at_most(given, ready.most)
        found = await _unless_hung_up(request, ready.predict(texts, ask))
        version, name = found.model.model_version, f"modr-{uuid.uuid4().hex}"
        return self._answer(protocols.moderation_answer(found.items, version, name), found)

    async def _analyze(self, request: Request) -> Response:
        ready, ask = self._ready(), _ask(request)
        asked = protocols.read(await self._bodies.read(request), protocols.PerspectiveRequest)
        found = await _unless_hung_up(request, ready.predict([asked.comment.text], ask))
        return self._answer(protocols.perspective_answer(asked, found.items[0]), found)

    async def _info(self, _: Request) -> Response:
        ready = self._ready()
        classifier = ready.classifier
        topics = {name: list(head.labels) for name, head in classifier.topics.items()}
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
                "heads": {wire.SENTIMENT: list(LABELS)} | topics,
                "trunk": classifier.manifest.trunk,
                "embedding_prefix": classifier.embedding_prefix,
                "trained_on": sorted(classifier.manifest.trained_rows),
                "device": classifier.device,
                "max_input_length": classifier.manifest.max_tokens,
                "max_input_characters": MAX_CHARACTERS,
                "max_batch_tokens": classifier.budget,
                "max_client_batch_size": ready.most,
                "max_queued_texts": ready.batcher.places.capacity,
            }
        )

    async def _metadata(self, _: Request) -> Response:
        classifier = self._ready().classifier
        topics = {name: len(head.labels) for name, head in classifier.topics.items()}
        return _json(protocols.metadata(classifier.model_version, topics))

    async def _health(self, _: Request) -> Response:
        missing = self._service.not_ready()
        return Response(missing, status_code=503 if missing else 200)

    async def _live(self, _: Request) -> Response:
        return Response()

    async def _openapi(self, _: Request) -> Response:
        return Response(openapi_text(), media_type="application/json")

    def _ready(self) -> Ready:
        batcher, classifier = self._service.batcher, self._service.classifier
        if batcher is None or classifier is None:
            raise _NotReadyError
        return Ready(batcher, classifier, min(wire.MAX_TEXTS, batcher.places.capacity))

    def _answer(self, answer: object, found: Answers | None = None) -> Response:
        began = time.perf_counter()
        response = _json(answer)
        if found is not None:
            response.headers["x-model-version"] = found.model.model_version
        self._service.metrics.decode_seconds.observe(time.perf_counter() - began)
        return response

    def _counted(
        self, route: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                response = await _or_refusal(answer(request))
            finally:
                self._bodies.release(request)
            self._service.metrics.requests.labels(route, str(response.status_code)).inc()
            return response

        return endpoint


class _NotReadyError(Exception):
    """The model is not loaded yet."""


async def _or_refusal(answer: Awaitable[Response]) -> Response:
    """The answer, or TEI's `{"error", "error_type"}` with the status that fits."""
    try:
        response = await answer
    except wire.BadRequestError as error:
        response = _refusal(error.status, str(error), "Validation")
    except OverloadedError as error:
        response = _refusal(429, str(error), "Overloaded", error.retry_after_seconds)
    except DeadlineError as error:
        response = _refusal(504, str(error), "Deadline")
    except _NotReadyError:
        response = _refusal(503, "the model is loading", "Unhealthy", 1)
    except ClientDisconnect:
        response = Response(status_code=HUNG_UP)
    except DeviceError as error:
        response = _refusal(424, f"the device failed ({error})", "Backend", 1)
    except Exception as error:  # a fault of ours: the caller is told, it is counted and seen
        log.exception("classifier.request_failed")
        response = _refusal(500, f"a fault of the server ({type(error).__name__})", "Internal")
    return response


def _refusal(status: int, message: str, kind: str, retry_after: int | None = None) -> Response:
    response = _json({"error": message, "error_type": kind})
    response.status_code = status
    if retry_after is not None:
        response.headers["retry-after"] = str(retry_after)
    return response


def _json(answer: object) -> Response:
    return Response(wire.encode(answer), media_type="application/json")


def _ask(request: Request) -> Ask:
    """What the headers say.

    Raises:
        BadRequestError: one of them says nothing that is understood.
    """
    arrived = time.perf_counter()
    urgency = request.headers.get("x-priority", "normal")
    if urgency not in PRIORITIES:
        raise wire.BadRequestError(422, f"x-priority must be one of {', '.join(PRIORITIES)}")
    allowed = request.headers.get("x-timeout-ms", "0")
    if not (allowed.isascii() and allowed.isdigit() and len(allowed) <= 9):
        raise wire.BadRequestError(422, "x-timeout-ms must be a whole number of milliseconds")
    deadline = arrived + int(allowed) / 1e3 if int(allowed) else float("inf")
    return Ask(PRIORITIES[urgency], deadline)


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
