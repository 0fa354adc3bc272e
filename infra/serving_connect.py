"""Clients of Redis or Valkey: one server, or whoever the Sentinels say is the master.

    redis://[user:password@]host:port/0
    redis+sentinel://[user:password@]host:26379,host:26379,host:26379/NAME[/0]
    rediss://…, rediss+sentinel://…?ca=FILE

Name and password are the masters'; what the Sentinels ask for is in the query, `sentinel_user` and
`sentinel_password`. After a failover the client finds the new master by itself; what the old one
had not sent on yet is lost there (replication does not wait), and written again by the worker
(`streams.recommend`).
"""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode, urlsplit

from infra.security import redis_client_url
from infra.settings import UserError, host_and_port

SENTINEL = "+sentinel"
OF_SENTINELS = {"sentinel_user": "username", "sentinel_password": "password"}


def redis_client(url: str, **arguments: Any) -> Any:
    """A client with a pool of connections; nothing is connected yet.

    Raises:
        UserError, ValueError: the URL is not of the form, or names a file that is not there.
    """
    import redis
    from redis.sentinel import Sentinel

    return _client(url, redis.Redis, Sentinel, arguments)


def async_redis_client(url: str, **arguments: Any) -> Any:
    """The same for asyncio."""
    import redis.asyncio
    from redis.asyncio.sentinel import Sentinel

    return _client(url, redis.asyncio.Redis, Sentinel, arguments)


def _client(url: str, plain: Any, sentinel: Any, arguments: dict[str, Any]) -> Any:
    parts = urlsplit(url)
    if not parts.scheme.endswith(SENTINEL):
        return plain.from_url(redis_client_url(url), **arguments)
    _, _, servers = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    places = [host_and_port(f"redis://{server}", 26379) for server in servers.split(",")]
    if not name or not (database or "0").isdigit():
        raise ValueError(url)
    given = dict(parse_qsl(parts.query))
    for_sentinels = {OF_SENTINELS[key]: given.pop(key) for key in OF_SENTINELS if key in given}
    # In the words of a URL for one server, whose other parts mean the same.
    one = parts._replace(
        scheme=parts.scheme.removesuffix(SENTINEL),
        netloc=parts.netloc.replace(servers, "master:1"),
        path=f"/{database or 0}",
        query=urlencode(given),
    )
    for_masters = {**_arguments_of(redis_client_url(one.geturl())), **arguments}
    shared = {key: value for key, value in for_masters.items() if key not in OF_MASTERS}
    return sentinel(places, sentinel_kwargs={**shared, **for_sentinels}, **for_masters).master_for(
        name
    )


OF_MASTERS = ("username", "password", "db")


def _arguments_of(url: str) -> dict[str, Any]:
    """What redis-py reads from a URL, but for the place."""
    from redis.connection import parse_url

    found: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
    for key in ("host", "port"):
        found.pop(key, None)
    if found.pop("connection_class", None) is not None:
        found["ssl"] = True
    return found


def unreachable(url: str, error: Exception) -> NoReturn:
    """One line for the user; never the URL itself, which may hold a password."""
    from redis.exceptions import AuthenticationError, ResponseError

    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        raise UserError(
            "SPRINGTIDE_REDIS_URL is not usable: write redis[s]://[user:password@]host:port/0, or "
            "redis[s]+sentinel://[user:password@]host:port,host:port/NAME"
        ) from None
    where = _where(url)
    if isinstance(error, (AuthenticationError, ResponseError)):
        raise UserError(
            f"{where} refused us ({str(error)[:100]}): check SPRINGTIDE_REDIS_URL"
        ) from None
    if "certificate" in str(error) or "SSL" in str(error):
        raise UserError(f"{where}: no TLS ({str(error)[:200]}): check ca= of its URL") from None
    raise UserError(
        f"{where} does not answer: start one with `springtide local`, or set SPRINGTIDE_REDIS_URL"
    ) from None


def _where(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme.endswith(SENTINEL):
        name = parts.path.strip("/").partition("/")[0]
        return f"Redis {name} of the Sentinels {parts.netloc.rpartition('@')[2]}"
    host, port = host_and_port(url, 6379)
    return f"Redis at redis://{host}:{port}"
