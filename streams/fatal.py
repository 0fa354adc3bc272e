"""fatal: a process that no longer knows what it does ends; its supervisor starts it again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

from infra.telemetry import get_logger

log = get_logger("process")

FATAL = 70  # EX_SOFTWARE


def fatal(error: BaseException) -> None:
    """Stop this process at once, as kill -9 would: state and offsets stay one checkpoint.

    Going on after an unknown error could acknowledge what was only half done.
    """
    log.error("process.fatal", error=repr(error), exc_info=error)
    sys.stderr.flush()
    os._exit(FATAL)


async def or_die(run: Coroutine[Any, Any, None]) -> None:
    """Run what must never fail in silence; `fatal` where it does."""
    try:
        await run
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        fatal(error)
