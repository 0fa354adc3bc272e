"""aiokafka's connection, mended where uvloop and asyncio differ (aiokafka 0.14, its issue 1038)."""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def mend() -> None:
    """Call it where uvloop runs, before anything connects.

    A connection that the broker reset looks alive for two more turns of the loop. What is written
    to it meanwhile asyncio drops, and aiokafka sees the connection fail; uvloop raises a
    RuntimeError, which nothing in aiokafka expects: the task that keeps the metadata ends without
    a word, whoever waits for new metadata waits for ever, and no heartbeat is sent any more.
    """
    AIOKafkaConnection.send = _send_unless_closed


def _send_unless_closed(
    connection: AIOKafkaConnection, request: Any, expect_response: bool = True
) -> Any:
    if connection._writer is not None and connection._writer.is_closing():
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(
            f"Connection at {connection._host}:{connection._port} was closed by the other side"
        )
    return _send(connection, request, expect_response)
