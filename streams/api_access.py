"""Who may ask what: tokens, their tenant and scopes; without tokens, this machine only."""

from __future__ import annotations

import hmac
import ipaddress
import re
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
        if self._tokens is None:
            _from_this_machine(request)
            return _tenant(asked or DEFAULT_TENANT)
        token = self._known(request.headers.get("authorization", ""))
        if token is None:
            raise ApiError(
                401,
                "send `Authorization: Bearer TOKEN` with a token of SPRINGTIDE_API_TOKENS_FILE",
                {"www-authenticate": "Bearer"},
            )
        if scope not in token.scopes and "admin" not in token.scopes:
            raise ApiError(403, f"this token lacks the scope {scope}")
        if asked not in (None, token.tenant):
            raise ApiError(403, f"this token is for the tenant {token.tenant}")
        return token.tenant

    def _known(self, header: str) -> Token | None:
        """Every token is compared, in constant time each."""
        scheme, _, value = header.partition(" ")
        digest = sha256(value.strip().encode("utf-8", "replace")).digest()
        found = None
        for token in self._tokens or ():
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found if scheme.lower() == "bearer" else None


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


def _tenant(name: str) -> str:
    if not _TENANT.fullmatch(name):
        raise ApiError(400, "tenant: 1 to 64 of a-z, 0-9 and -")
    return name


def _from_this_machine(request: Request) -> None:
    """A page of another site, open in this machine's browser, must not reach us.

    Its requests name their origin; and a name that was rebound to 127.0.0.1 is not loopback's.
    """
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    origin = request.headers.get("origin")
    from_elsewhere = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if origin is not None:
        from_elsewhere |= urlsplit(origin).netloc != request.headers.get("host")
    if not is_loopback(host) or from_elsewhere:
        raise ApiError(
            403, "without tokens the API answers this machine only: set SPRINGTIDE_API_TOKENS_FILE"
        )
