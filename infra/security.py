"""Connections behind TLS and a name, said alike in the three URLs.

    kafkas://user:password@host:9093,host:9093?ca=FILE&mechanism=SCRAM-SHA-512
    rediss://user:password@host:6380/0?ca=FILE
    clickhouses://user:password@host:9440/default?ca=FILE

The scheme's `s` asks for TLS, and the server's certificate must be good for its name. `ca`: the
authority that signed it, as a PEM file; without it the machine's own ones. `certificate` and `key`:
ours, as PEM files, where the server asks for one. User and password are percent-encoded. Errors
name the variable, never its value: it may hold a password.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from infra.settings import UserError

KAFKA_FORM = "SPRINGTIDE_KAFKA_URL: use kafka://host:port[,host:port], or with TLS and a name " \
    "kafkas://user:password@host:port?ca=FILE"  # fmt: skip
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
# Without TLS the password itself must not be on the wire; SCRAM sends a proof of it.
MECHANISMS = {"kafka": SCRAM, "kafkas": (*SCRAM, "PLAIN")}
FILES = ("ca", "certificate", "key")

REDIS_NAMES = {"ca": "ssl_ca_certs", "certificate": "ssl_certfile", "key": "ssl_keyfile"}
CLICKHOUSE_NAMES = {"ca": "ca_certs", "certificate": "certfile", "key": "keyfile"}


def kafka_servers(kafka_url: str) -> list[str]:
    """The URL's host:port, each.

    Raises:
        UserError: the URL is not of the form.
    """
    scheme, _, rest = kafka_url.partition("://")
    authority = rest.partition("?")[0].strip("/").rpartition("@")[2]
    servers = [server for server in authority.split(",") if server]
    if scheme not in MECHANISMS or not servers or not all(":" in server for server in servers):
        raise UserError(KAFKA_FORM)
    return servers


def kafka_client(kafka_url: str) -> dict[str, Any]:
    """Arguments by which any client of aiokafka or kafka-python finds and convinces the brokers.

    Raises:
        UserError: the URL is not of the form, or names a file that cannot be used.
    """
    arguments: dict[str, Any] = {"bootstrap_servers": kafka_servers(kafka_url)}
    scheme, _, rest = kafka_url.partition("://")
    where, _, query = rest.partition("?")
    asked = _parameters(query, "SPRINGTIDE_KAFKA_URL", (*FILES, "mechanism"))
    name = where.rpartition("@")[0]
    if scheme == "kafkas":
        arguments |= {"security_protocol": "SSL", "ssl_context": _context(asked)}
    if name:
        user, _, password = name.partition(":")
        mechanism = asked.get("mechanism", "SCRAM-SHA-512")
        if not user or not password or mechanism not in MECHANISMS[scheme]:
            raise UserError(f"{KAFKA_FORM}&mechanism={'|'.join(MECHANISMS[scheme])}")
        arguments |= {
            "security_protocol": "SASL_SSL" if scheme == "kafkas" else "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
            "sasl_plain_username": unquote(user),
            "sasl_plain_password": unquote(password),
        }
    return arguments


def redis_client_url(redis_url: str) -> str:
    """The URL in redis-py's words.

    Raises:
        UserError: it names a file that is not there.
    """
    return _in_words_of(REDIS_NAMES, redis_url, "SPRINGTIDE_REDIS_URL")


def clickhouse_client_url(clickhouse_url: str) -> str:
    """The URL in clickhouse-driver's words.

    Raises:
        UserError: it names a file that is not there.
    """
    return _in_words_of(CLICKHOUSE_NAMES, clickhouse_url, "SPRINGTIDE_CLICKHOUSE_URL")


def _in_words_of(names: dict[str, str], url: str, variable: str) -> str:
    parts: SplitResult = urlsplit(url)
    if not parts.query:
        return url
    asked = _parameters(parts.query, variable, None)
    query = urlencode({names.get(name, name): value for name, value in asked.items()})
    return parts._replace(query=query).geturl()


def _parameters(query: str, variable: str, known: tuple[str, ...] | None) -> dict[str, str]:
    """The query's parameters; files must be there, since a client's own message may not say."""
    asked = dict(parse_qsl(query))
    unknown = sorted(set(asked) - set(known or asked))
    if unknown:
        raise UserError(
            f"{variable}: no parameter {unknown[0]!r}; there are {', '.join(known or ())}"
        )
    for name in FILES:
        if name in asked and not Path(asked[name]).is_file():
            raise UserError(f"{variable}: {name}={asked[name]}: no such file")
    return asked


def _context(asked: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=asked.get("ca"))
        if "certificate" in asked:
            context.load_cert_chain(asked["certificate"], asked.get("key"))
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(f"{name}={asked[name]}" for name in FILES if name in asked)
        raise UserError(f"SPRINGTIDE_KAFKA_URL: {named} cannot be used ({error})") from None
    return context
