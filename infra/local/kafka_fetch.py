"""Brings a real Kafka to this machine: pinned jars from Maven Central, each checked by SHA-256.

`kafka_jars.txt` names them, 47 of Apache Kafka 4.3.1 without Connect and Streams, 44 MB; their
licences (Apache-2.0, BSD, MIT) are inside. What is there and right is not fetched again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import httpx

from infra.settings import UserError

MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
JARS = Path(__file__).with_name("kafka_jars.txt")
ANSWER_SECONDS = 30.0
MOST_BYTES = 100_000_000


def pinned() -> dict[str, str]:
    """Path below the repository → SHA-256."""
    lines = [line.split() for line in JARS.read_text("ascii").splitlines()]
    return {path: digest for digest, path in lines}


def fetch(
    home: Path, url: str = MAVEN_CENTRAL, tell: Callable[[str], None] = lambda name: None
) -> int:
    """Fill `home/libs`; what a fetch that was broken off has left is used.

    Args:
        url: a Maven repository, such as a mirror of your own.
        tell: called with the name of each jar before it is fetched.

    Returns:
        How many jars were fetched.

    Raises:
        UserError: a jar cannot be had, or is not the one that was pinned; nothing of it is kept.
    """
    libs = home / "libs"
    fetched = 0
    try:
        libs.mkdir(parents=True, exist_ok=True)
        with httpx.Client(follow_redirects=True, timeout=ANSWER_SECONDS) as client:
            for path, digest in pinned().items():
                target = libs / Path(path).name
                if target.exists() and sha256(target.read_bytes()).hexdigest() == digest:
                    continue
                tell(target.name)
                _put(target, _checked(client, f"{url.rstrip('/')}/{path}", digest))
                fetched += 1
    except OSError as error:
        raise UserError(f"{libs} cannot be used ({error.strerror or error})") from None
    return fetched


def _checked(client: httpx.Client, url: str, digest: str) -> bytes:
    received = bytearray()
    try:
        with client.stream("GET", url) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                received += chunk
                if len(received) > MOST_BYTES:
                    raise UserError(f"{url} is larger than any of Kafka's jars: nothing was kept")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{url} cannot be fetched ({reason}): name a mirror with --from, or unpack Kafka's "
            "own tarball (kafka.apache.org/downloads) and set KAFKA_HOME to its folder"
        ) from None
    if sha256(received).hexdigest() != digest:
        raise UserError(f"{url} is not what was pinned (another SHA-256): nothing of it was kept")
    return bytes(received)


def _put(target: Path, content: bytes) -> None:
    """Whole or not at all: a broker may be starting from this folder."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
