"""Logs are events with fields, on stderr: `event.dead_lettered reason=… topic=… offset=…`.

Never payloads, never raw user ids. People at a terminal get colours, machines get JSON.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(json_logs: bool | None = None, level: str = "INFO") -> None:
    """Configure structlog and the standard library's logging, once a process.

    Args:
        json_logs: one JSON object a line; default: only where stderr is no terminal.
        level: the least level that is printed.
    """
    if json_logs is None:
        json_logs = not sys.stderr.isatty()
    renderer: Any = (
        structlog.processors.JSONRenderer() if json_logs else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")


def get_logger(name: str) -> Any:
    """A logger bound to the name of its part; `configure` may come later than this."""
    return structlog.get_logger(part=name)
