"""Around every route: who is let in, how often, how large; and what every answer's headers say.

Health and metrics stay open. With tokens everything else asks for one, the page too: a browser
asks its user for a name (any) and a password (the token). There is no CORS: no page of another
origin may read an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.api_access import Gate, Token
from streams.api_answers import ApiError, problem
from streams.api_request import MAX_BODY_BYTES

OPEN = frozenset({"/livez", "/readyz", "/metrics", "/health"})
MAX_TARGET_BYTES = 16_384  # path and query
# The page's files bring their own policy; nothing else is to be shown, framed or guessed.
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Pace:
    """So many requests a second for each token, and as many at once: a bucket that fills again.

    Args:
        per_second: 0: no limit.
        clock: seconds, monotonic.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second)
        self._clock = clock
        self._left: dict[bytes, tuple[float, float]] = {}  # one a token: bounded by their file

    def take(self, token: Token) -> None:
        """One request.

        Raises:
            ApiError: 429, too fast; Retry-After says when one more is welcome.
        """
        if not self._rate:
            return
        now = self._clock()
        left, at = self._left.get(token.digest, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        if left < 1.0:
            self._left[token.digest] = (left, now)
            wait = max(1, round((1.0 - left) / self._rate))
            raise ApiError(
                429, f"at most {self._rate:g} requests a second", {"retry-after": str(wait)}
            )
        self._left[token.digest] = (left - 1.0, now)


class Doors:
    """An ASGI application around another.

    Args:
        refused: told the status of each refusal and how long it took, seconds.
        most_bytes: of a body that is announced.
        own: paths below it ask for the scope that they need themselves; others need read.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        pace: Pace,
        refused: Callable[[int, float], None] = lambda status, seconds: None,
        most_bytes: int = MAX_BODY_BYTES,
        own: str | None = "/v1/",
    ) -> None:
        self._app, self._gate, self._pace, self._refused = app, gate, pace, refused
        self._most, self._own = most_bytes, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        began = time.perf_counter()
        try:
            self._look(Request(scope))
        except ApiError as error:
            self._refused(error.status, time.perf_counter() - began)
            await problem(error.status, error.message, error.headers)(scope, receive, answer)
            return
        await self._app(scope, receive, answer)

    def _look(self, request: Request) -> None:
        # Not `request.url`: a Host header with a slash or a question mark would have its say.
        path = request.scope["path"]
        if path in OPEN:
            return
        token = self._gate.known(request)
        if token is not None:
            self._pace.take(token)
        if self._own is None or not path.startswith(self._own):
            self._gate.admit(request, "read")
        if (
            len(request.scope.get("raw_path", b"")) + len(request.scope["query_string"])
            > MAX_TARGET_BYTES
        ):
            raise ApiError(414, f"path and query have at most {MAX_TARGET_BYTES} bytes")
        stated = request.headers.get("content-length", "0")
        if not (stated.isascii() and stated.isdigit()):
            raise ApiError(400, "content-length: a whole number")
        if len(stated) > 12 or int(stated) > self._most:
            raise ApiError(413, f"at most {self._most} bytes: send smaller batches")
