"""ClickHouse: where everything ends that somebody may ask about later.

`migrate` makes the tables (`infra/clickhouse/*.sql`), `ArchiveWriter` fills them, `Warehouse` asks.

    TransientError   away or overloaded: try again
    UncertainError   one of them: the writer may not be the owner of its rows any more
    WarehouseError   refused: trying again will not help
    UserError        of `migrate` and `Warehouse.check`: one line that says what to do
"""

from infra.warehouse_archive import ArchiveWriter
from infra.warehouse_client import TransientError, UncertainError, Warehouse, WarehouseError
from infra.warehouse_migrations import migrate
from infra.warehouse_tables import TABLES

__all__ = [
    "TABLES",
    "ArchiveWriter",
    "TransientError",
    "UncertainError",
    "Warehouse",
    "WarehouseError",
    "migrate",
]
