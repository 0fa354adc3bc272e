"""Three more ways to ask, for clients that exist: KServe v2, OpenAI's moderation, and Perspective.

KServe v2 (Open Inference Protocol): one BYTES input `text`; outputs `label`, `scores` [n, 3] in the
order negative, neutral, positive, `flagged`, `error`, and for each topic head `topic.NAME` [n, K].
Triton's request parameters `priority` (1: high, 2: normal, 3: low) and `timeout` (µs) are kept.
Moderation: a text is flagged where negative is likeliest. Perspective: the attributes NEGATIVE,
NEUTRAL and POSITIVE. Bodies of another shape are refused whole; texts that cannot be read are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from models.data import LABELS
from models.waiting import Answer, Priority
from models.wire import MAX_TEXTS, BadRequestError, decode

MODEL = "springtide"
PLAIN_OUTPUTS = ("label", "scores", "flagged", "error")
Attribute = Literal["NEGATIVE", "NEUTRAL", "POSITIVE"]
T = TypeVar("T")


class InferInput(Struct, frozen=True):
    """The texts: `name` is "text", `datatype` BYTES, `shape` [n] or [n, 1], `data` n texts."""

    name: Literal["text"]
    shape: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=2)]
    datatype: Literal["BYTES"]
    data: Annotated[list[Any], Meta(min_length=1)]


class InferOutputName(Struct, frozen=True):
    """An output that is wanted."""

    name: str


class InferParameters(Struct, frozen=True):
    """`priority` 1 to 3; `timeout` in microseconds from the request's arrival, 0: none."""

    priority: Annotated[int, Meta(ge=0, le=3)] = 0
    timeout: Annotated[int, Meta(ge=0, le=2**53)] = 0


class InferRequest(Struct, frozen=True):
    """A KServe v2 inference request; without `outputs` all but the topics are answered."""

    inputs: Annotated[list[InferInput], Meta(min_length=1, max_length=1)]
    id: str | None = None
    parameters: InferParameters = InferParameters()
    outputs: list[InferOutputName] = []


class InferOutput(Struct, frozen=True):
    """One tensor, row-major."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class InferAnswer(Struct, frozen=True, omit_defaults=True):
    """A KServe v2 inference response."""

    model_name: str
    model_version: str
    outputs: list[InferOutput]
    id: str | None = None


class TensorMetadata(Struct, frozen=True):
    """A tensor's name and form; -1: as many as there are texts."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Struct, frozen=True):
    """KServe v2's model metadata."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModerationRequest(Struct, frozen=True):
    """OpenAI's moderation request, texts only."""

    input: str | Annotated[list[Any], Meta(min_length=1)]
    model: str | None = None


class ModerationResult(Struct, frozen=True):
    """Of one text; `flagged`: negative is the likeliest label."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]


class ModerationAnswer(Struct, frozen=True):
    """OpenAI's moderation object."""

    id: str
    model: str
    results: list[ModerationResult]


class PerspectiveComment(Struct, frozen=True):
    """The text."""

    text: str


class PerspectiveRequest(Struct, frozen=True, rename="camel"):
    """Perspective's AnalyzeComment request: `requestedAttributes` maps names to `{}`."""

    comment: PerspectiveComment
    requested_attributes: Annotated[dict[Attribute, dict[str, Any]], Meta(min_length=1)]
    languages: list[str] = []
    client_token: str | None = None


class PerspectiveScore(Struct, frozen=True):
    """A probability."""

    value: float
    type: Literal["PROBABILITY"] = "PROBABILITY"


class PerspectiveSpan(Struct, frozen=True):
    """The score of a stretch of the text, in characters: always the whole."""

    begin: int
    end: int
    score: PerspectiveScore


class PerspectiveAttribute(Struct, frozen=True, rename="camel"):
    """One attribute's scores."""

    summary_score: PerspectiveScore
    span_scores: list[PerspectiveSpan]


class PerspectiveAnswer(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Perspective's AnalyzeComment response."""

    attribute_scores: dict[str, PerspectiveAttribute]
    languages: list[str]
    client_token: str | None = None


def read(body: bytes, kind: type[T]) -> T:
    """A body as one of the requests above.

    Raises:
        BadRequestError: it is none.
    """
    try:
        return msgspec.convert(decode(body), kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # of a name that is no text
        raise BadRequestError(422, str(error)) from None


def infer_texts(request: InferRequest, most: int = MAX_TEXTS) -> list[object]:
    """The texts of a KServe request; nested [[text], …] is understood.

    Raises:
        BadRequestError: the shape is not the data's, or there are too many.
    """
    given = request.inputs[0]
    texts = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in given.data]
    if math.prod(given.shape) != len(texts) or given.shape[0] != len(texts):
        raise BadRequestError(422, f"shape {given.shape} is not that of {len(texts)} texts")
    return at_most(texts, most)


def at_most(texts: list[Any], most: int) -> list[Any]:
    """The texts.

    Raises:
        BadRequestError: there are too many.
    """
    if len(texts) > most:
        raise BadRequestError(413, f"{len(texts)} texts in one request: send at most {most}")
    return texts


def priority(request: InferRequest) -> Priority:
    """Triton's number as ours; 0 is the default."""
    return Priority(request.parameters.priority - 1) if request.parameters.priority else Priority(1)


def topics_wanted(request: InferRequest) -> bool:
    """Whether a topic head is among the outputs."""
    return any(each.name.startswith("topic.") for each in request.outputs)


def check_outputs(request: InferRequest, topics: dict[str, int]) -> None:
    """Args: topics: labels of each topic head.

    Raises:
        BadRequestError: an output is wanted that does not exist.
    """
    known = [*PLAIN_OUTPUTS, *(f"topic.{name}" for name in topics)]
    if unknown := [each.name for each in request.outputs if each.name not in known]:
        raise BadRequestError(422, f"no output {unknown[0]!r}: there are {', '.join(known)}")


def infer_answer(
    request: InferRequest, answers: Sequence[Answer], version: str, topics: dict[str, int]
) -> InferAnswer:
    """The wanted outputs, in the order in which they were named; topics: as `check_outputs`."""
    rows, width = len(answers), len(LABELS)
    found = [each.prediction for each in answers]
    scores = [getattr(each, label) for each in found for label in LABELS]
    outputs = {
        "label": InferOutput("label", "BYTES", [rows], [each.label for each in found]),
        "scores": InferOutput("scores", "FP32", [rows, width], scores),
        "flagged": InferOutput("flagged", "BOOL", [rows], [each.flagged for each in found]),
        "error": InferOutput("error", "BYTES", [rows], [each.error for each in answers]),
    }
    for name, labels in topics.items():
        # What cannot be read is about nothing: equal shares.
        nothing = [1 / labels] * labels
        data = [share for each in found for share in each.topics.get(name, nothing)]
        outputs[f"topic.{name}"] = InferOutput(f"topic.{name}", "FP32", [rows, labels], data)
    wanted = [each.name for each in request.outputs] or PLAIN_OUTPUTS
    return InferAnswer(MODEL, version, [outputs[name] for name in wanted], request.id)


def metadata(version: str, topics: dict[str, int]) -> ModelMetadata:
    """What the model takes and gives; topics: as `check_outputs`."""
    outputs = [
        TensorMetadata("label", "BYTES", [-1]),
        TensorMetadata("scores", "FP32", [-1, len(LABELS)]),
        TensorMetadata("flagged", "BOOL", [-1]),
        TensorMetadata("error", "BYTES", [-1]),
        *(TensorMetadata(f"topic.{name}", "FP32", [-1, size]) for name, size in topics.items()),
    ]
    inputs = [TensorMetadata("text", "BYTES", [-1])]
    return ModelMetadata(MODEL, [version], "springtide", inputs, outputs)


def moderation_answer(answers: Sequence[Answer], version: str, name: str) -> ModerationAnswer:
    """Args: name: of this answer."""
    results = []
    for each in answers:
        scores = {label: getattr(each.prediction, label) for label in LABELS}
        likeliest = {label: label == each.prediction.label for label in LABELS}
        results.append(ModerationResult(likeliest["negative"], likeliest, scores))
    return ModerationAnswer(name, version, results)


def perspective_answer(request: PerspectiveRequest, answer: Answer) -> PerspectiveAnswer:
    """The requested attributes of the one text."""
    scores: dict[str, PerspectiveAttribute] = {}
    for name in request.requested_attributes:
        score = PerspectiveScore(getattr(answer.prediction, name.lower()))
        span = PerspectiveSpan(0, len(request.comment.text), score)
        scores[name] = PerspectiveAttribute(score, [span])
    return PerspectiveAnswer(scores, request.languages, request.client_token)
