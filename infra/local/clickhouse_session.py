"""One client of the gateway: its connection, its chDB session, its statements."""

from __future__ import annotations

import json
import re
import socket
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from infra.local import clickhouse_wire as wire
from infra.local.clickhouse_inserts import Inserts
from infra.local.clickhouse_statements import (
    Insert,
    Kill,
    Rows,
    bare_name,
    classify,
    quoted_name,
    quoted_text,
)

NOT_IMPLEMENTED, UNKNOWN_SETTING, UNEXPECTED_PACKET, UNKNOWN_EXCEPTION = 48, 115, 101, 1002
CANCELLED = 394
COMPUTED = {"MATERIALIZED", "ALIAS"}

_CODE = re.compile(r"\A(?:Streaming query failed: )?Code: (\d+)\. ")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class GatewayError(Exception):
    """Worded as chDB words its own, with the code in front."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}")


class Session:
    """Serves one socket until its client goes.

    Args:
        connect: opens a chDB session on our path.
        drafts: a folder for rows on their way in.
        inserts: those of all sessions.
    """

    def __init__(
        self, client: socket.socket, connect: Callable[[], Any], drafts: Path, inserts: Inserts
    ) -> None:
        self._client = client
        self._inserts = inserts
        self._query_id = ""
        self._connect = connect
        self._drafts = drafts
        self._reader = wire.PacketReader(client)
        self._chdb: Any = None

    def serve(self) -> None:
        """Answer packets; returns when the client is gone or not to be understood."""
        try:
            if self._reader.number() == wire.CLIENT_HELLO and self._welcome():
                while self._answer(self._reader.number()):
                    pass
        except (EOFError, OSError):
            return
        finally:
            if self._chdb is not None:
                self._chdb.close()

    def _welcome(self) -> bool:
        """Any user and password will do: we are on the loopback address and own nothing secret."""
        self._reader.text()
        for _ in range(3):
            self._reader.number()
        database = self._reader.text()
        self._reader.text()
        self._reader.text()
        self._chdb = self._connect()
        if database:
            try:
                self._chdb.query(f"USE {quoted_name(database)}")
            except Exception as error:
                self._client.sendall(_packet(error))
                return False
        self._client.sendall(wire.hello())
        return True

    def _answer(self, packet: int) -> bool:
        """Whether to go on."""
        if packet == wire.CLIENT_PING:
            self._client.sendall(wire.number(wire.PONG))
        elif packet == wire.CLIENT_QUERY:
            return self._query()
        elif packet != wire.CLIENT_CANCEL:  # one that comes after the answer is void
            return False
        return True

    def _query(self) -> bool:
        settings, compressed, sql = self._read_query()
        if compressed:
            # Its blocks cannot be told apart any more, so this is the end of the connection.
            refusal = GatewayError(NOT_IMPLEMENTED, "the gateway takes no compressed blocks")
            self._client.sendall(_packet(refusal))
            return False
        try:
            while self._next_block().columns:
                raise GatewayError(NOT_IMPLEMENTED, "the gateway takes no external tables")
            self._with_settings(sql, settings)
            self._client.sendall(wire.number(wire.END_OF_STREAM))
        except (EOFError, OSError):
            raise
        except Exception as error:  # chDB's are RuntimeErrors; whatever it is, the client hears it
            self._client.sendall(_packet(error))
        return True

    def _read_query(self) -> tuple[list[tuple[str, int, str]], bool, str]:
        reader = self._reader
        self._query_id = reader.text()
        if reader.byte():  # client info: three texts, the interface, three more, version, quota
            for _ in range(3):
                reader.text()
            reader.byte()
            for _ in range(3):
                reader.text()
            for _ in range(3):
                reader.number()
            reader.text()
            reader.number()
        settings = []
        while name := reader.text():
            settings.append((name, reader.byte(), reader.text()))
        reader.number()  # stage
        compressed = bool(reader.number())
        return settings, compressed, reader.text()

    def _next_block(self) -> wire.Block:
        if self._reader.number() != wire.CLIENT_DATA:
            raise EOFError
        return self._reader.data()

    def _with_settings(self, sql: str, settings: list[tuple[str, int, str]]) -> None:
        """Settings hold for one statement; of a chDB session they are taken back afterwards."""
        changed: list[str] = []
        try:
            for name, important, value in settings:
                if self._set(name, important, value):
                    changed.append(name)
            self._run(sql)
        finally:
            for name in changed:
                self._chdb.query(f"SET {name} = DEFAULT")

    def _set(self, name: str, important: int, value: str) -> bool:
        if not _SETTING.match(name):
            raise GatewayError(UNKNOWN_SETTING, f"Unknown setting {name!r}")
        try:
            self._chdb.query(f"SET {name} = {quoted_text(value)}")
        except Exception as error:
            if _code(error) == UNKNOWN_SETTING and not important & 1:
                return False  # as the real server does
            raise
        return True

    def _run(self, sql: str) -> None:
        kind = classify(sql)
        if isinstance(kind, Insert):
            self._insert(kind)
        elif isinstance(kind, Kill):
            self._inserts.kill(partial(self._those_of, kind.where))
        elif isinstance(kind, Rows) and kind.streamed:
            self._select(sql)
        else:
            self._send_rows(self._chdb.query(sql, "Native").bytes())

    def _select(self, sql: str) -> None:
        types = self._result_types(sql)
        if types:
            self._client.sendall(wire.header(types))
        # At its own revision, 0, format Native writes a column DateTime('UTC') as DateTime.
        zoned = any(kind.startswith("DateTime(") for _, kind in types)
        with self._chdb.send_query(sql, "Native") as stream:
            for chunk in stream:
                native = chunk.bytes()
                if zoned:
                    for block in wire.split_blocks(native):
                        typed = block.retyped([kind for _, kind in types])
                        self._client.sendall(wire.data(typed))
                elif native and not types:
                    raise GatewayError(NOT_IMPLEMENTED, "the gateway cannot name the columns")
                elif native:
                    self._client.sendall(wire.data(native))

    def _result_types(self, sql: str) -> list[tuple[str, str]]:
        """Names and types of a SELECT's columns, before it runs; none where it has a fault."""
        try:
            described = self._ask(f"DESCRIBE TABLE ({sql.strip().rstrip(';')}\n)")
        except RuntimeError:  # the statement itself will say what is wrong, and say it better
            return []
        return [(row[0], row[1]) for row in described]

    def _send_rows(self, native: bytes) -> None:
        """Send the blocks after a header: clients take names and types from a block of no rows."""
        for place, block in enumerate(wire.split_blocks(native)):
            if not place:
                self._client.sendall(wire.header(block.columns))
            self._client.sendall(wire.data(block.raw))

    def _insert(self, insert: Insert) -> None:
        described = self._ask(f"DESCRIBE TABLE {insert.table}")
        types = {row[0]: row[1] for row in described}
        names = [bare_name(column) for column in insert.columns]
        names = names or [row[0] for row in described if row[2] not in COMPUTED]
        unknown = [name for name in names if name not in types]
        if unknown:
            raise GatewayError(16, f"No such column {unknown[0]} in table {insert.table}")
        with (
            self._inserts.open(self._query_id) as mine,
            tempfile.NamedTemporaryFile(dir=self._drafts, suffix=".native") as draft,
        ):
            self._client.sendall(wire.header([(name, types[name]) for name in names]))
            while (block := self._next_block()).columns:
                draft.write(block.raw if block.rows else b"")
            draft.flush()
            if not mine.begin():
                raise GatewayError(CANCELLED, "Query was cancelled")
            # From a file, for chDB's streaming insert is silent about what fails at its end (a
            # constraint, a view), and SQL text holds no bytes.
            quoted = ", ".join(insert.columns or map(quoted_name, names))
            self._chdb.query(
                f"INSERT INTO {insert.table} ({quoted}) FROM INFILE '{draft.name}' "
                f"{insert.settings} FORMAT Native"
            )

    def _those_of(self, where: str, query_ids: Sequence[str]) -> set[str]:
        """Which of the query ids a condition holds for."""
        ids = ", ".join(quoted_text(each) for each in query_ids)
        rows = self._ask(
            f"SELECT query_id FROM (SELECT arrayJoin([{ids}]) AS query_id) WHERE {where}"
        )
        return {row[0] for row in rows}

    def _ask(self, sql: str) -> list[list[Any]]:
        lines = self._chdb.query(sql, "JSONCompactEachRow").bytes().decode().splitlines()
        return [json.loads(line) for line in lines]


def _code(error: Exception) -> int:
    found = _CODE.match(str(error))
    return int(found.group(1)) if found else UNKNOWN_EXCEPTION


def _packet(error: Exception) -> bytes:
    return wire.exception(_code(error), _CODE.sub("", str(error)))
