"""Reading a request within bounds: parameters, path ids, bodies."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request

from streams.api_answers import ApiError
from streams.events import MAX_ID_BYTES

MAX_BODY_BYTES = 5_000_000
BODY_SECONDS = 10.0
MAX_EXCLUDED = 500
MAX_LABEL = 64

Body = TypeVar("Body")


class _AnyText(Convertor[str]):
    """An id in a path: slashes and line breaks too, which Starlette's own `path` leaves out."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyText())


def whole(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query.

    Raises:
        ApiError: 400 where it is none, or not within low…high.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high:
        return int(text)
    raise ApiError(400, f"{name}: a whole number from {low} to {high}")


def label(request: Request, name: str) -> str:
    """A short text of the query; empty where it is not given."""
    text = request.query_params.get(name, "")
    if len(text) > MAX_LABEL:
        raise ApiError(400, f"{name}: at most {MAX_LABEL} characters")
    return text


def excluded(request: Request) -> frozenset[str]:
    """Item ids of `exclude`, which may be given several times, each time with commas."""
    given = request.query_params.getlist("exclude")
    ids = {part for text in given for part in (text, *text.split(",")) if part}
    if len(ids) > MAX_EXCLUDED:
        raise ApiError(400, f"exclude: at most {MAX_EXCLUDED} items")
    return frozenset(ids)


def path_id(request: Request) -> str:
    """The id in the path.

    Raises:
        ApiError: 400 where it has no characters or too many bytes.
    """
    text: str = request.path_params["id"]
    if not 0 < len(text.encode("utf-8", "replace")) <= MAX_ID_BYTES:
        raise ApiError(400, f"the id in the path has 1 to {MAX_ID_BYTES} bytes")
    return text


async def body(request: Request, kind: type[Body]) -> Body:
    """The JSON body.

    Raises:
        ApiError: 415 not JSON by its content type, 413 too large, 408 too slow, 422 not `kind`.
    """
    # Only a page that we allowed can send JSON from a browser: forms of other sites cannot.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "send JSON with `Content-Type: application/json`")
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                received += chunk
                if len(received) > MAX_BODY_BYTES:
                    raise ApiError(413, f"at most {MAX_BODY_BYTES} bytes: send smaller batches")
    except TimeoutError:
        raise ApiError(408, f"the body took longer than {BODY_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise ApiError(400, "the body ended early") from None
    try:
        return msgspec.json.decode(bytes(received), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(422, f"the body cannot be used: {str(error)[:300]}") from None
