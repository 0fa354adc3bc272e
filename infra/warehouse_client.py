"""ClickHouse over its native protocol: one client a thread, errors in two kinds."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn
from urllib.parse import urlsplit

from infra.security import clickhouse_client_url
from infra.settings import UserError, host_and_port
from infra.warehouse_tables import TABLES

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0

# Server errors that pass by themselves: timeouts (159, 160, 209), too many queries (202), network
# (210), out of memory or disk (241, 243), read-only replica (242), too many parts (252),
# interrupted insert (319), killed (394), ZooKeeper (999), and a server that is shutting down (236,
# 735).
PASSING_CODES = {159, 160, 202, 209, 210, 236, 241, 242, 243, 252, 319, 394, 735, 999}
UNKNOWN_TABLE, UNKNOWN_DATABASE = 60, 81


class TransientError(Exception):
    """ClickHouse is away or overloaded: the same call may be made again, without harm."""


class UncertainError(TransientError):
    """Nothing was sent: somebody else may own these rows by now."""


class WarehouseError(Exception):
    """ClickHouse refuses the query or the rows; making the call again will not help."""


class Warehouse:
    """Queries and inserts. Nothing connects before the first call; every thread has its client.

    Raises:
        UserError: the URL is not `clickhouse[s]://[user:password@]host:port/database[?ca=FILE]`.
    """

    def __init__(self, clickhouse_url: str) -> None:
        self._url = clickhouse_url
        if urlsplit(clickhouse_url).scheme not in ("clickhouse", "clickhouses"):
            raise UserError(
                "SPRINGTIDE_CLICKHOUSE_URL: use clickhouse://[user:password@]host:port/database"
            )
        host, port = host_and_port(clickhouse_url, 9000)
        self.address = f"clickhouse://{host}:{port}"
        self.database = urlsplit(clickhouse_url).path.strip("/") or "default"
        self._local = threading.local()
        self._clients: list[Any] = []
        self._lock = threading.Lock()

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one statement; `%(name)s` in it stands for an escaped parameter.

        Args:
            parameters: strings, numbers, lists and aware datetimes (kept to the millisecond).

        Returns:
            One dict a row; times are aware datetimes.

        Raises:
            TransientError: ClickHouse is away or overloaded.
            WarehouseError: it refuses the statement.
        """
        given = {name: _parameter(value) for name, value in (parameters or {}).items()}
        answer = self._execute(sql, given or None, with_column_types=True)
        if not isinstance(answer, tuple):
            return []
        rows, columns = answer
        names = [name for name, _ in columns]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def insert(
        self,
        table: str,
        columns: Mapping[str, Sequence[Any]],
        token: str,
        query_id: str | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> int:
        """Insert rows as one block.

        Args:
            columns: column → values, all of one length; times are aware datetimes or Unix
                milliseconds; a missing column holds its type's default.
            token: two blocks with the same token count once (`non_replicated_deduplication_window`
                blocks back), in the rollups too; empty: the block's own hash.
            query_id: what the server shall call it; None: its own choice.
            may_send: asked once more when the server has taken the query, before the rows go.

        Returns:
            The number of rows.

        Raises:
            TransientError: ClickHouse is away or overloaded; it may or may not have the rows.
            UncertainError: they may not be sent.
            WarehouseError: it refuses the rows.
            ValueError: no such table or column, or columns of several lengths.
        """
        spec = TABLES[table] if table in TABLES else _no_such_table(table)
        rows = len(next(iter(columns.values()), ()))
        if not rows:
            return 0
        data = spec.convert(columns, rows)
        names = ", ".join(f"`{name}`" for name in data)
        settings: dict[str, Any] = {"deduplicate_blocks_in_dependent_materialized_views": 1}
        if token:
            settings["insert_deduplication_token"] = token
        self._local.may_send = may_send
        self._execute(
            f"INSERT INTO {table} ({names}) VALUES",
            list(data.values()),
            columnar=True,
            settings=settings,
            query_id=query_id,
        )
        return rows

    def reach(self) -> None:
        """Connect this thread, or hear over its connection that ClickHouse is there.

        Raises:
            TransientError: it is away, or does not answer.
        """
        client = self._client()
        with self._sorting_errors(client):
            if not (client.connection.connected and client.connection.ping()):
                client.connection.connect()

    def max_offset(self, table: str, topic: str, partition: int) -> int:
        """The last Kafka offset that is in the table; -1: none.

        Raises:
            TransientError: ClickHouse is away or overloaded.
        """
        offsets = self.offsets(table, topic, partition, 1)
        return offsets[0] if offsets else -1

    def offsets(self, table: str, topic: str, partition: int, newest: int) -> list[int]:
        """The `newest` largest Kafka offsets in the table, descending; fewer where there are fewer.

        Raises:
            TransientError: ClickHouse is away or overloaded.
        """
        rows = self._execute(
            f"SELECT offset FROM {table} WHERE topic = %(topic)s AND `partition` = %(partition)s"
            " ORDER BY offset DESC LIMIT %(newest)s",
            {"topic": topic, "partition": partition, "newest": newest},
        )
        return [row[0] for row in rows]

    def check(self) -> None:
        """Check that ClickHouse answers and has our tables.

        Raises:
            UserError: it does not; one line that says what to do.
        """
        missing = sorted(set(TABLES) - {row["name"] for row in self.ask("SHOW TABLES")})
        if missing:
            raise UserError(
                f"ClickHouse at {self.address} lacks tables ({', '.join(missing)}): "
                "run `springtide warehouse migrate`"
            )

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """`query` for a command: whatever goes wrong is a UserError in one line."""
        try:
            return self.query(sql)
        except TransientError as error:
            if "certificate" in str(error) or "SSL" in str(error):
                raise UserError(f"ClickHouse at {error}: check ca= of its URL") from None
            raise UserError(
                f"ClickHouse at {self.address} does not answer: start one with "
                "`springtide local`, or set SPRINGTIDE_CLICKHOUSE_URL"
            ) from None
        except WarehouseError as error:
            raise UserError(f"ClickHouse at {self.address} refused: {error}") from None

    def in_database(self, database: str) -> Warehouse:
        """The same server, another database."""
        parts = urlsplit(self._url)
        return Warehouse(parts._replace(path=f"/{database}").geturl())

    def close(self) -> None:
        """Close the connections of all threads; a call under way in another thread fails."""
        with self._lock:
            clients, self._clients = self._clients, []
            self._local = threading.local()
        for client in clients:
            _hang_up(client)

    def _execute(self, sql: str, data: Any = None, **options: Any) -> Any:
        client = self._client()
        with self._sorting_errors(client):
            return client.execute(sql, data, **options)

    @contextlib.contextmanager
    def _sorting_errors(self, client: Any) -> Iterator[None]:
        from clickhouse_driver import errors

        try:
            yield
        except errors.ServerException as error:
            _refused(error)
        except (errors.NetworkError, errors.SocketTimeoutError, EOFError, OSError) as error:
            _hang_up(client)
            raise TransientError(f"{self.address}: {_reason(error)}") from None
        except errors.Error as error:
            _hang_up(client)  # mid-protocol: the connection is of no more use
            raise WarehouseError(str(error)) from error

    def _client(self) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            from clickhouse_driver import Client

            # A server that is away is our one line, not a traceback of the client's.
            logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
            client = Client.from_url(clickhouse_client_url(self._url))
            client.connection.connect_timeout = CONNECT_SECONDS
            client.connection.send_receive_timeout = ANSWER_SECONDS
            client.connection.client_name = "springtide"
            client.send_data = partial(_send_if_sure, self._local, client.send_data)
            self._local.client = client
            with self._lock:
                self._clients.append(client)
        return client


def _send_if_sure(local: Any, send: Callable[..., int], *rows: Any, **options: Any) -> int:
    """The driver calls it when the server has said that it waits for an insert's rows."""
    may_send = getattr(local, "may_send", None)
    if may_send is None or not may_send():  # None: `close` came in between
        raise UncertainError("Kafka has not confirmed lately that the partitions are ours")
    return send(*rows, **options)


def _hang_up(client: Any) -> None:
    """Disconnect, where another thread may do the same: the driver's sockets know no locks."""
    with contextlib.suppress(AttributeError):  # it found its socket gone between two of its lines
        client.disconnect()


def _reason(error: Exception) -> str:
    """Its kind; where TLS failed, how. Neither tells a password."""
    said = str(error)
    tls = "certificate" in said or "SSL" in said
    return " ".join(said.split())[:200] if tls else type(error).__name__


def _refused(error: Any) -> NoReturn:
    """Sort a server's exception; its message without stack trace, in one line."""
    message = str(error.message).partition("Stack trace")[0].strip().replace("\n", " ")
    if error.code in PASSING_CODES:
        raise TransientError(f"code {error.code}: {message}") from None
    if error.code == UNKNOWN_TABLE:
        raise WarehouseError(f"{message} (run `springtide warehouse migrate`)") from None
    raise WarehouseError(f"code {error.code}: {message}") from None


def _no_such_table(table: str) -> NoReturn:
    raise ValueError(f"{table}: no such table; there are {', '.join(TABLES)}")


def _parameter(value: Any) -> Any:
    """Times as text: the driver would cut off the milliseconds."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a datetime parameter needs a time zone")
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return value
