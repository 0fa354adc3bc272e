"""Users outside the serving path are known by a keyed pseudonym only."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Any

from infra.settings import UserError

KEY_FILE = "pseudonym.key"
KEY_BYTES = 32
MIN_KEY_BYTES = 16


class Pseudonymiser:
    """Keyed BLAKE2b of (tenant, user): the same user has the same pseudonym under one key.

    Whoever lacks the key can neither reverse a pseudonym nor test a guess; destroying the key
    makes every row anonymous. All workers must share one key. A pseudonym begins with its key's id:
    after a rotation rows tell under which key they were written, and a former key, kept as a later
    line of the file, still finds a user's older rows when he is erased.

    Attributes:
        key_id: 8 hex digits that name the key without telling it.
    """

    def __init__(self, key: bytes, *former: bytes) -> None:
        """Args: key: 16 to 64 bytes; former: keys of before, of which rows may still be there."""
        self._keyed, self.key_id = _keyed(key)
        self._former = [_keyed(each) for each in former]

    @classmethod
    def from_settings(
        cls, key_file: Path | None, data_dir: Path, make: bool = True
    ) -> Pseudonymiser:
        """Read the keys, hex, one a line, the current one first.

        Without `key_file` one is made in `data_dir` (0600).

        Args:
            make: False for who looks for what others wrote: under a new key he would find nothing.

        Raises:
            UserError: the file is missing, cannot be read or made, or holds no usable key.
        """
        path = key_file or data_dir / KEY_FILE
        if not make and not path.exists():
            raise UserError(
                f"{path}: no such file, and under another key nothing of a user is found: name the "
                "workers' --data-dir, or their SPRINGTIDE_PSEUDONYM_KEY_FILE"
            )
        try:
            if key_file is None and not path.exists():
                _make_key(path)
            text = path.read_text("ascii")
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such file; make a key with `openssl rand -hex {KEY_BYTES}`, "
                "or unset SPRINGTIDE_PSEUDONYM_KEY_FILE"
            ) from None
        except (OSError, UnicodeError) as error:
            raise UserError(f"{path}: the pseudonym key cannot be used ({error})") from None
        lines = [line for line in text.splitlines() if line.strip()] or [""]
        return cls(*(_parse(line, path) for line in lines))

    def user_key(self, tenant: str, user: str) -> str:
        """The user's pseudonym: the key's id, "-", and 32 hex digits."""
        return f"{self.key_id}-{_digest(self._keyed, tenant, user)}"

    def user_keys(self, tenant: str, user: str) -> tuple[str, ...]:
        """His pseudonyms under all keys, the current one's first.

        Each also without the key's id, as rows had it before there was one.
        """
        found = []
        for keyed, key_id in ((self._keyed, self.key_id), *self._former):
            digest = _digest(keyed, tenant, user)
            found += [f"{key_id}-{digest}", digest]
        return tuple(found)


def _keyed(key: bytes) -> tuple[Any, str]:
    """A hash that is begun with the key, and the key's id."""
    return (
        blake2b(key=key, digest_size=16, person=b"springtide-user"),
        blake2b(key=key, digest_size=4, person=b"springtide-key").hexdigest(),
    )


def _digest(begun: Any, tenant: str, user: str) -> str:
    """A tenant holds no NUL, so no two users meet."""
    keyed = begun.copy()
    keyed.update(f"{tenant}\0{user}".encode("utf-8", "surrogatepass"))
    return str(keyed.hexdigest())


def _parse(text: str, path: Path) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if not MIN_KEY_BYTES <= len(key) <= blake2b.MAX_KEY_SIZE:
        raise UserError(
            f"{path}: not a key of {MIN_KEY_BYTES} to {blake2b.MAX_KEY_SIZE} bytes in hex; "
            f"make one with `openssl rand -hex {KEY_BYTES}`"
        )
    return key


def _make_key(path: Path) -> None:
    """Write a new key; of workers that start together one wins, whole, and all read his."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
