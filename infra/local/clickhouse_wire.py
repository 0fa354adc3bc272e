"""ClickHouse's native protocol, the server's side: packets, and the blocks inside them.

Blocks pass through as bytes: chDB's format Native is what the protocol carries at our revision.
"""

from __future__ import annotations

import io
import socket
import struct
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

# Settings as strings (54429), but neither interserver secret (54441) nor custom serialization
# (54454), whose extra bytes format Native does not write.
REVISION = 54440
VERSION = (26, 9, 0)
DISPLAY_NAME = "springtide"
BUFFER_BYTES = 1 << 20

# What a client sends, and what a server sends.
CLIENT_HELLO, CLIENT_QUERY, CLIENT_DATA, CLIENT_CANCEL, CLIENT_PING = 0, 1, 2, 3, 4
HELLO, DATA, EXCEPTION, PONG, END_OF_STREAM = 0, 1, 2, 4, 5

BLOCK_INFO = b"\x01\x00\x02" + struct.pack("<i", -1) + b"\x00"  # no overflow, no bucket


def number(value: int) -> bytes:
    """A variable-length integer."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(value: str) -> bytes:
    """A string with its length before it."""
    encoded = value.encode("utf-8", "replace")
    return number(len(encoded)) + encoded


def hello() -> bytes:
    """The server's name, version, time zone."""
    major, minor, patch = VERSION
    version = number(major) + number(minor) + number(REVISION)
    return (
        number(HELLO)
        + text("ClickHouse")
        + version
        + text("UTC")
        + text(DISPLAY_NAME)
        + number(patch)
    )


def data(block: bytes) -> bytes:
    """A packet around a block of format Native."""
    return number(DATA) + text("") + BLOCK_INFO + block


def header(columns: list[tuple[str, str]]) -> bytes:
    """A packet around a block that has columns (name, type) and no rows."""
    named = b"".join(text(name) + text(kind) for name, kind in columns)
    return data(number(len(columns)) + number(0) + named)


def exception(code: int, message: str) -> bytes:
    """A server exception; no stack trace, nothing nested."""
    name = text("DB::Exception") + text(message) + text("") + b"\x00"
    return number(EXCEPTION) + struct.pack("<i", code) + name


class Block(Struct, frozen=True):
    """A block: its columns (name, type), and itself as bytes.

    `types_at` says where in the bytes each column's type stands.
    """

    columns: list[tuple[str, str]]
    types_at: list[slice]
    rows: int
    raw: bytes

    def retyped(self, types: list[str]) -> bytes:
        """The same values under other names of their types."""
        pieces, end = [], 0
        for place, kind in zip(self.types_at, types, strict=True):
            pieces += [self.raw[end : place.start], text(kind)]
            end = place.stop
        return b"".join([*pieces, self.raw[end:]])


class _Recorder:
    """What the driver's reader takes for a socket; keeps the bytes of the block being read."""

    def __init__(self, source: Any) -> None:
        self._receive = source.recv_into if isinstance(source, socket.socket) else source.readinto
        self.total = 0
        self.kept: bytearray | None = None

    def recv_into(self, buffer: Any) -> int:
        received: int = self._receive(buffer)
        if self.kept is not None:
            self.kept += memoryview(buffer)[:received]
        self.total += received
        return received


class PacketReader:
    """Reads a client's packets from a socket (or blocks from bytes).

    Every method raises EOFError when the other side is gone.
    """

    def __init__(self, source: Any) -> None:
        from clickhouse_driver.bufferedreader import BufferedSocketReader

        self._recorder = _Recorder(source)
        self._buffer = BufferedSocketReader(self._recorder, BUFFER_BYTES)
        self._context = _context()

    def number(self) -> int:
        """A variable-length integer."""
        from clickhouse_driver.varint import read_varint

        return int(read_varint(self._buffer))

    def byte(self) -> int:
        """One byte."""
        return int(self._buffer.read_one())

    def text(self) -> str:
        """A string."""
        from clickhouse_driver.reader import read_binary_bytes

        return bytes(read_binary_bytes(self._buffer)).decode("utf-8", "replace")

    def data(self) -> Block:
        """The block of a data packet whose number is read."""
        self.text()
        while field := self.number():
            self._buffer.read(1 if field == 1 else 4)
        return self.block()

    def block(self) -> Block:
        """A block as format Native writes it."""
        from clickhouse_driver.columns.service import read_column

        start = self._position()
        place = self._buffer.position
        unread = self._buffer.buffer[place : self._buffer.current_buffer_size]
        self._recorder.kept = bytearray(unread)
        columns: list[tuple[str, str]] = []
        types_at: list[slice] = []
        width, rows = self.number(), self.number()
        for _ in range(width):
            name = self.text()
            before = self._position() - start
            kind = self.text()
            columns.append((name, kind))
            types_at.append(slice(before, self._position() - start))
            if rows:
                # Only to learn where the column ends: the protocol does not say.
                read_column(self._context, kind, rows, self._buffer)
        raw = bytes(memoryview(self._recorder.kept)[: self._position() - start])
        self._recorder.kept = None
        return Block(columns, types_at, rows, raw)

    def _position(self) -> int:
        """Bytes read of all that came."""
        unread: int = self._buffer.current_buffer_size - self._buffer.position
        return self._recorder.total - unread


def split_blocks(native: bytes) -> Iterator[Block]:
    """The blocks of format Native, one by one."""
    reader, position = PacketReader(io.BytesIO(native)), 0
    while position < len(native):
        block = reader.block()
        position += len(block.raw)
        yield block


def _context() -> Any:
    """What the driver's column readers ask for."""
    from clickhouse_driver.connection import ServerInfo
    from clickhouse_driver.context import Context

    context = Context()
    context.server_info = ServerInfo(
        "ClickHouse", *VERSION, REVISION, "UTC", DISPLAY_NAME, REVISION
    )
    context.settings = {}
    context.client_settings = {
        "strings_as_bytes": True,
        "strings_encoding": "utf-8",
        "use_numpy": False,
        "opentelemetry_traceparent": None,
        "opentelemetry_tracestate": "",
        "quota_key": "",
        "input_format_null_as_default": False,
        "namedtuple_as_json": False,
        "server_side_params": False,
    }
    return context
