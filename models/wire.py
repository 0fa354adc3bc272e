"""The request and answer bodies of the server, in the shape of text-embeddings-inference (TEI).

`/predict` takes `{"inputs": "text"}`, `{"inputs": ["text", …]}` or `{"inputs": [["text"], …]}` and
answers a list of `{"label", "score"}`, or a list of such lists for the two batched forms; with
`"head": NAME` the labels are those of a topic head. `/embed` takes the first two forms and, if
wanted, `"max_tokens": N` and `"head": "items"`, which TEI does not know and does not mind. An item
that holds no text (null, a number) is no reason to refuse its neighbours: it is answered neutral
and flagged. A body of another shape is refused whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from models.classifier import EMBEDDING_TOKENS
from models.predictions import Prediction

MAX_TEXTS = 1_024  # of one request
SENTIMENT = "sentiment"
TRUNK, ITEMS = "trunk", "items"  # what /embed answers
FEWEST_TOKENS = 3  # the start, one of the text, the end


class BadRequestError(Exception):
    """The body cannot be used; `status` is 413 (too much) or 422 (wrong shape)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Inputs(Struct, frozen=True):
    """Items in the order of the request; `single`: it was one bare string, not a list.

    `head`: the topic head that is asked, or `sentiment`.
    """

    items: list[object]
    single: bool
    head: str = SENTIMENT


def read_inputs(body: bytes, most: int = MAX_TEXTS) -> Inputs:
    """Items of a request.

    Raises:
        BadRequestError: no JSON object with `inputs`, an empty or too long list, or pairs of texts.
    """
    document = decode(body)
    inputs = document.get("inputs") if isinstance(document, dict) else None
    head = document.get("head", SENTIMENT) if isinstance(document, dict) else SENTIMENT
    if not isinstance(head, str):
        raise BadRequestError(422, "`head` must be the name of a head")
    if isinstance(inputs, str):
        return Inputs([inputs], single=True, head=head)
    if not isinstance(inputs, list):
        raise BadRequestError(422, '`inputs` must be a text or a list: {"inputs": [["text"], …]}')
    if not inputs:
        raise BadRequestError(422, "`inputs` cannot be empty")
    if len(inputs) > most:
        raise BadRequestError(413, f"{len(inputs)} texts in one request: send at most {most}")
    return Inputs([_item(each) for each in inputs], single=False, head=head)


class Texts(Struct, frozen=True):
    """What an embedding request asks for; of every text the first `max_tokens` count.

    `by_ranker`: they are what items say, and the text ranker's vectors are wanted, if there is one.
    """

    items: list[str]
    max_tokens: int
    by_ranker: bool = False


def read_texts(body: bytes, most: int = MAX_TEXTS) -> Texts:
    """Texts of an embedding request, where every item must be one.

    Raises:
        BadRequestError: as `read_inputs`, an item is no text, `max_tokens` or `head` is none.
    """
    items = read_inputs(body, most).items
    texts = [each for each in items if isinstance(each, str)]
    if len(texts) != len(items):
        raise BadRequestError(422, "every item of `inputs` must be a text")
    document = decode(body)
    wanted, head = document.get("max_tokens", EMBEDDING_TOKENS), document.get("head", TRUNK)
    fits = isinstance(wanted, int) and not isinstance(wanted, bool)
    if not fits or not FEWEST_TOKENS <= wanted <= EMBEDDING_TOKENS:
        raise BadRequestError(
            422, f"`max_tokens` must be a whole number, {FEWEST_TOKENS} to {EMBEDDING_TOKENS}"
        )
    if head not in {TRUNK, ITEMS}:
        raise BadRequestError(422, f"`head` must be {TRUNK} or {ITEMS}")
    return Texts(texts, wanted, head == ITEMS)


def as_labels(prediction: Prediction, error: str = "") -> list[dict[str, object]]:
    """`[{"label", "score"}, …]`, likeliest first; `flagged` and `error` only where they apply."""
    scores = {
        "negative": prediction.negative,
        "neutral": prediction.neutral,
        "positive": prediction.positive,
    }
    extra: dict[str, object] = {"flagged": True} if prediction.flagged else {}
    if error:
        extra["error"] = error
    return _ranked(scores, extra)


def as_topics(prediction: Prediction, head: str, labels: Sequence[str]) -> list[dict[str, object]]:
    """As `as_labels`, of a topic head; what cannot be read has equal shares and is flagged."""
    extra: dict[str, object] = {"flagged": True} if prediction.flagged else {}
    shares = prediction.topics.get(head, [1 / len(labels)] * len(labels))
    return _ranked(dict(zip(labels, shares, strict=True)), extra)


def _ranked(scores: dict[str, float], extra: dict[str, object]) -> list[dict[str, object]]:
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    return [{"label": label, "score": score, **extra} for label, score in ranked]


def _item(item: object) -> object:
    if not isinstance(item, list):
        return item
    if len(item) != 1:
        raise BadRequestError(422, f"an item must be one text, here it has {len(item)}")
    return item[0]


def decode(body: bytes) -> Any:
    """JSON, read leniently.

    Raises:
        BadRequestError: it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        pass
    # One lone surrogate or broken byte must not cost the neighbours their answer: read leniently.
    try:
        return json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise BadRequestError(422, "the body is no JSON") from None


def encode(answer: object) -> bytes:
    """JSON bytes; a lone surrogate that the caller sent he gets back as he wrote it."""
    try:
        return msgspec.json.encode(answer)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(answer)).encode()
