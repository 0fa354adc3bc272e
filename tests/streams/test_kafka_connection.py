"""What is written to a connection that the broker has just reset fails as aiokafka expects it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from streams import kafka_connection

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing resets


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_a_connection_that_was_reset_says_so_and_nothing_else(
    run: Callable[[Coroutine[Any, Any, None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_lookup(connection: Any) -> None:
        connection._versions = {MetadataRequest.API_KEY: (0, 5)}

    monkeypatch.setattr(AIOKafkaConnection, "_do_version_lookup", no_lookup)
    monkeypatch.setattr(AIOKafkaConnection, "send", AIOKafkaConnection.send)  # put back at the end
    kafka_connection.mend()

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            for _ in range(20):
                connection = AIOKafkaConnection(*server.getsockname())
                taken, _ = await asyncio.gather(
                    asyncio.get_running_loop().sock_accept(server), connection.connect()
                )
                taken[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                taken[0].close()
                while not connection._writer.is_closing():  # noqa: ASYNC110 (nothing says it)
                    await asyncio.sleep(0)
                await asyncio.sleep(0)  # a turn in which it still looks alive
                assert connection.connected()
                with pytest.raises(KafkaConnectionError):
                    await connection.send(MetadataRequest([]))
                assert not connection.connected()
                with suppress(ConnectionError):
                    await connection.close()

    run(scenario())
