"""A request's head within bounds, of size and of time, before anybody looks at a token.

uvicorn with httptools, which parses fastest, keeps whatever comes: 100 MB of one header cost us
190 MB, and a head that never ends kept its connection for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 65_536  # request line and headers; what came in their first piece is not counted
# All of a request: bodies have smaller bounds of their own, trailers and chunks' sizes have none.
MOST_BYTES = 32_000_000
HEAD_SECONDS = 15.0
TOO_LARGE = b"431 Request Header Fields Too Large"
TOO_LATE = b"408 Request Timeout"


class BoundedHttp(HttpToolsProtocol):
    """A connection; who passes a bound is told so, where he waits for an answer, and cut off."""

    _begun = 0  # requests
    _received = 0  # bytes of the last one, without the piece in which it began
    _head = True  # it is not complete, or none has begun
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there; he is to say what he wants."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._head = False
        self._watch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of one request, or of several."""
        begun = self._begun
        super().data_received(data)
        if self._begun == begun:
            self._received += len(data)
        self._watch()
        if self._received > (MOST_HEAD_BYTES if self._head else MOST_BYTES):
            self._refuse(TOO_LARGE)

    def on_message_begin(self) -> None:
        """The parser met a request."""
        self._begun += 1
        self._received, self._head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The parser has its head."""
        self._head = False
        super().on_headers_complete()

    def _watch(self) -> None:
        """A timer runs while a head is awaited: for most there is none, they come in one piece."""
        if self._head and self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self._refuse, TOO_LATE)
        elif not self._head and self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            said = b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(said)
        self.transport.close()
