"""Bodies of requests: each one bounded, and all of them together until they are answered.

The queue counts texts. A text may be long, and a body is in memory before a text of it is counted.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from models.errors import OverloadedError
from models.wire import BadRequestError

MAX_BODY_BYTES = 8 * 1024 * 1024  # 64 comments of 10,000 characters, with room to spare
ALL_BYTES = 8 * MAX_BODY_BYTES
SECONDS = 30.0  # a body that never ends must not keep its place


class Bodies:
    """What is in memory of requests without an answer.

    Attributes:
        taken: bytes, at most `most`.
    """

    def __init__(self, most: int = ALL_BYTES, seconds: float = SECONDS) -> None:
        self._most, self._seconds = most, seconds
        self.taken = 0

    async def read(self, request: Request) -> bytes:
        """A request's body; its place is kept until `release`.

        Raises:
            BadRequestError: it is too large, or too slow.
            OverloadedError: the others leave no room for it.
        """
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for piece in request.stream():
                    size += len(piece)
                    if size > MAX_BODY_BYTES:
                        raise BadRequestError(413, f"a body may have {MAX_BODY_BYTES:,} bytes")
                    self._take(request, len(piece))
                    pieces.append(piece)
        except TimeoutError:
            raise BadRequestError(408, f"a body may take {self._seconds:g} s") from None
        return b"".join(pieces)

    def release(self, request: Request) -> None:
        """It is answered."""
        self.taken -= getattr(request.state, "bytes_taken", 0)
        request.state.bytes_taken = 0

    def _take(self, request: Request, size: int) -> None:
        if self.taken + size > self._most:
            raise OverloadedError("too much is waiting: ask again later", 1)
        self.taken += size
        request.state.bytes_taken = getattr(request.state, "bytes_taken", 0) + size
