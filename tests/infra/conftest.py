"""What tests on the real ClickHouse engine share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from infra.warehouse import Warehouse, migrate


@pytest.fixture
def url(stack: Any) -> Iterator[str]:
    """A database of this test's own."""
    base = Warehouse(stack.clickhouse_url)
    name = f"test_{uuid.uuid4().hex[:12]}"
    fresh = stack.clickhouse_url.rpartition("/")[0] + "/" + name
    migrate(fresh)
    yield fresh
    base.query(f"DROP DATABASE {name}")
    base.close()
