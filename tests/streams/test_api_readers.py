"""docs/readers.md says what it does: its Python reader, run as it stands, reads our lists."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.serving import ListWrite, RedisTopKStore, StoredList

DOCUMENT = Path(__file__).parents[2] / "docs" / "readers.md"


def programs() -> dict[str, str]:
    """Language → program."""
    return dict(re.findall(r"```(\w+)\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL))


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    path = tmp_path / "reader.py"
    path.write_text(programs()["python"], "utf-8")
    return path


def test_every_language_has_a_reader_of_about_ten_lines() -> None:
    found = programs()
    assert set(found) == {"python", "go", "java", "js"}
    assert all(len(program.split("\n")) <= 16 for program in found.values())


def test_python_reader_follows_the_contract(stack: Any, reader: Path) -> None:
    tenant = f"reader-{secrets.token_hex(4)}"
    store = RedisTopKStore.connect(stack.redis_url)

    def items(user: str) -> list[str]:
        command = [sys.executable, str(reader), stack.redis_url, tenant, user]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert items("ann") == []
    store.write_popular(tenant, StoredList(1, (1, 1), 0, ["hit"], [0.0], "popular", 0))
    own = StoredList(1, (1, 1), 0, ["课程", "b"], [1.0, 0.5], "blend", 0)
    assert store.write_many([ListWrite(tenant, "ann", own)], 60) == [True]
    assert items("ann") == ["课程", "b"]
    store.write_profile(tenant, "ann", personalise=False)
    assert items("ann") == ["hit"]
    store.delete_user(tenant, "ann")
    assert items("ann") == ["hit"]
    store.close()
