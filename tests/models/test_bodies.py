"""Bodies of many requests at once: so many bytes, and each only for so long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from models.bodies import MAX_BODY_BYTES, Bodies
from models.errors import OverloadedError
from models.wire import BadRequestError


def request(*pieces: bytes, endless: bool = False) -> Request:
    """One whose body comes in these pieces, and then ends, or does not."""
    left = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]

    async def receive() -> Any:
        if left:
            return left.pop(0)
        if endless:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": b"", "more_body": False}

    return Request({"type": "http", "headers": []}, receive)


def test_bodies_have_their_place_until_they_are_answered() -> None:
    async def go() -> None:
        bodies = Bodies(most=10)
        first, second, third = request(b"abc", b"def"), request(b"ghijk"), request(b"gh", b"ij")
        assert await bodies.read(first) == b"abcdef"
        with pytest.raises(OverloadedError):
            await bodies.read(second)
        assert await bodies.read(third) == b"ghij"
        assert bodies.taken == 10
        for each in (first, second, third, first):
            bodies.release(each)
        assert bodies.taken == 0

    asyncio.run(go())


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (lambda: request(b"a" * MAX_BODY_BYTES, b"a"), 413),
        (lambda: request(b"a", endless=True), 408),
    ],
)
def test_a_body_that_is_too_large_or_never_ends_gives_its_place_back(
    made: Callable[[], Request], status: int
) -> None:
    async def go() -> None:
        bodies, asked = Bodies(seconds=0.05), made()
        with pytest.raises(BadRequestError) as refused:
            await bodies.read(asked)
        bodies.release(asked)
        assert (refused.value.status, bodies.taken) == (status, 0)

    asyncio.run(go())
