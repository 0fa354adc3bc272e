"""Users outside the serving path are known by a keyed pseudonym only."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path

from infra.settings import UserError

KEY_FILE = "pseudonym.key"
KEY_BYTES = 32
MIN_KEY_BYTES = 16


class Pseudonymiser:
    """Keyed BLAKE2b of (tenant, user): the same user has the same pseudonym under one key.

    Whoever lacks the key can neither reverse a pseudonym nor test a guess; destroying the key
    makes every row anonymous. All workers must share one key.

    Attributes:
        key_id: 8 hex digits that name the key without telling it.
    """

    def __init__(self, key: bytes) -> None:
        """Args: key: 16 to 64 bytes."""
        self._keyed = blake2b(key=key, digest_size=16, person=b"springtide-user")
        self.key_id = blake2b(key=key, digest_size=4, person=b"springtide-key").hexdigest()

    @classmethod
    def from_settings(cls, key_file: Path | None, data_dir: Path) -> Pseudonymiser:
        """Read the key, hex in a text file; without `key_file` it is made in `data_dir` (0600).

        Raises:
            UserError: the file is missing, cannot be read or made, or holds no usable key.
        """
        path = key_file or data_dir / KEY_FILE
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
        return cls(_parse(text, path))

    def user_key(self, tenant: str, user: str) -> str:
        """The user's pseudonym, 32 hex digits. A tenant holds no NUL, so no two users meet."""
        keyed = self._keyed.copy()
        keyed.update(f"{tenant}\0{user}".encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()


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
