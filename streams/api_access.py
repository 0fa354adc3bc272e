"""Who may ask what: tokens, their tenant and scopes; without tokens, this machine only."""

from __future__ import annotations

import hmac
import ipaddress
import re
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.requests import Request

from infra.settings import UserError
from streams.api_answers import ApiError

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
MIN_TOKEN_CHARACTERS = 16
DEFAULT_TENANT = "default"
_TENANT = re.compile(r"[a-z0-9-]{1,64}")


class Token(Struct, frozen=True):
    """A token, known by its digest only."""

    digest: bytes
    tenant: str
    scopes: frozenset[str]


class Gate:
    """Admits requests. `admin` holds every scope.

    Args:
        tokens: None: no token is configured, and requests of this machine are all welcome.
    """

    def __init__(self, tokens: tuple[Token, ...] | None = None) -> None:
        self._tokens = tokens

    def admit(self, request: Request, scope: Scope) -> str:
        """The tenant that the request acts for.

        Raises:
            ApiError: 401 without a known token, 403 where it lacks the scope or tenant.
        """
        asked = request.query_params.get("tenant")
        token = self.known(request)
        if token is None:
            return _tenant(asked or DEFAULT_TENANT)
        if scope not in token.scopes and "admin" not in token.scopes:
            raise ApiError(403, f"this token lacks the scope {scope}")
        if asked not in (None, token.tenant):
            raise ApiError(403, f"this token is for the tenant {token.tenant}")
        return token.tenant

    def known(self, request: Request) -> Token | None:
        """The request's token; None where none is configured.

        Every token is compared, in constant time each.

        Raises:
            ApiError: 401 without a known token; 403 where none is configured and the request is not
                this machine's own, or where a browser sends a password that it kept for another
                site's page.
        """
        if self._tokens is None:
            _from_this_machine(request)
            return None
        digest = sha256(_secret(request)).digest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        if found is None:
            # A browser asks its user only where he went himself, not behind the page's back.
            asks = 'Basic realm="springtide", charset="UTF-8"'
            raise ApiError(
                401,
                "send `Authorization: Bearer TOKEN` with a token of SPRINGTIDE_API_TOKENS_FILE",
                {"www-authenticate": asks if request.scope["path"] == "/" else "Bearer"},
            )
        return found


def gate_for(tokens_file: Path | None, host: str) -> Gate:
    """The gate that the settings ask for.

    Raises:
        UserError: the file cannot be used, or there is none and `host` is not this machine alone.
    """
    if tokens_file is not None:
        return Gate(read_tokens(tokens_file))
    if not is_loopback(host):
        raise UserError(
            f"without tokens the API serves this machine only, not {host}: "
            "set SPRINGTIDE_API_TOKENS_FILE (a line each: token tenant scope[,scope])"
        )
    return Gate()


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read `token tenant scope[,scope]`, one a line; empty lines and `#` lines are skipped.

    Raises:
        UserError: the file is missing or a line is not of that form; never repeats a token.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(f"{path}: the API tokens cannot be read ({error})") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            tokens.append(_parse(line.split(), f"{path}, line {number}"))
    if not tokens:
        raise UserError(f"{path} holds no token: write a line `token tenant scope[,scope]`")
    return tuple(tokens)


def _parse(words: list[str], where: str) -> Token:
    if len(words) != 3:
        raise UserError(f"{where}: write `token tenant scope[,scope]`")
    token, tenant, scopes = words
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise UserError(
            f"{where}: a token has at least {MIN_TOKEN_CHARACTERS} characters; make one with "
            "`openssl rand -hex 24`"
        )
    if not _TENANT.fullmatch(tenant):
        raise UserError(f"{where}: a tenant is 1 to 64 of a-z, 0-9 and -")
    unknown = set(scopes.split(",")) - set(SCOPES)
    if unknown:
        raise UserError(f"{where}: scopes are {', '.join(SCOPES)}, not {', '.join(unknown)}")
    return Token(sha256(token.encode()).digest(), tenant, frozenset(scopes.split(",")))


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _secret(request: Request) -> bytes:
    """The token of a Bearer header, or the password of a Basic one, which a browser sends."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if scheme.lower() != "basic":
        return b""
    if _from_elsewhere(request):
        raise ApiError(403, "a page of another site may not use this browser's password")
    try:
        return b64decode(value, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _tenant(name: str) -> str:
    if not _TENANT.fullmatch(name):
        raise ApiError(400, "tenant: 1 to 64 of a-z, 0-9 and -")
    return name


def _from_this_machine(request: Request) -> None:
    """A page of another site, open in this machine's browser, must not reach us.

    Its requests name their origin; and a name that was rebound to 127.0.0.1 is not loopback's.
    """
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        host = ""
    if not is_loopback(host) or _from_elsewhere(request):
        raise ApiError(
            403, "without tokens the API answers this machine only: set SPRINGTIDE_API_TOKENS_FILE"
        )


def _from_elsewhere(request: Request) -> bool:
    """Whether a browser says that a page of another origin asks."""
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    try:
        return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    except ValueError:
        return True
