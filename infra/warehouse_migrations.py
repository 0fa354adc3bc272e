"""The warehouse's schema: numbered SQL files, each applied once, in order."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from infra.settings import UserError
from infra.warehouse_client import UNKNOWN_DATABASE, Warehouse

FOLDER = Path(__file__).parent / "clickhouse"

LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name String, digest String, applied_at DateTime('UTC') DEFAULT now()
) ENGINE = MergeTree ORDER BY name
"""


def migrate(clickhouse_url: str, folder: Path = FOLDER) -> list[str]:
    """Apply the files of `folder` that were not applied yet. Running it twice is harmless.

    Statements must be idempotent (IF NOT EXISTS): a file is on record only once all of it is
    applied, and two processes may migrate at the same time.

    Returns:
        The names of the files that were applied, in order.

    Raises:
        UserError: ClickHouse does not answer or refuses, or a file changed after it was applied.
    """
    warehouse = Warehouse(clickhouse_url)
    try:
        _make_database(warehouse)
        warehouse.ask(LEDGER)
        applied = {
            row["name"]: row["digest"]
            for row in warehouse.ask("SELECT name, digest FROM schema_migrations")
        }
        return [
            path.stem for path in sorted(folder.glob("*.sql")) if _apply(warehouse, path, applied)
        ]
    finally:
        warehouse.close()


def _apply(warehouse: Warehouse, path: Path, applied: dict[str, str]) -> bool:
    sql = path.read_text("utf-8")
    digest = blake2b(sql.encode(), digest_size=8).hexdigest()
    if path.stem in applied:
        if applied[path.stem] != digest:
            raise UserError(
                f"{path.name} is not what was applied to ClickHouse at {warehouse.address}: "
                "put changes into a new numbered file"
            )
        return False
    for statement in statements(sql):
        warehouse.ask(statement)
    # Both are plain hexadecimal or file names, hence no quoting.
    warehouse.ask(f"INSERT INTO schema_migrations (name, digest) SELECT '{path.stem}', '{digest}'")
    return True


def statements(sql: str) -> list[str]:
    """The statements of a file, without comments; `;` ends a statement at the end of a line."""
    lines = [line.partition("--")[0].rstrip() for line in sql.splitlines()]
    parts = "\n".join(line for line in lines if line).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


def _make_database(warehouse: Warehouse) -> None:
    """Make the URL's database where it is missing (and we may)."""
    try:
        warehouse.ask("SELECT 1")
    except UserError as error:
        if f"code {UNKNOWN_DATABASE}:" not in str(error):
            raise
        base = warehouse.in_database("default")
        base.ask(f"CREATE DATABASE IF NOT EXISTS `{warehouse.database}`")
        base.close()
