"""What kind of statement the gateway has before it."""

from __future__ import annotations

import pytest

from infra.local.clickhouse_statements import Insert, Kill, Order, Rows, classify


def test_statements_are_told_apart() -> None:
    assert classify("SELECT 1") == Rows(streamed=True)
    assert classify("  -- a\n/* b */ show tables") == Rows(streamed=False)
    assert classify("INSERT INTO t SELECT 1") == Order()
    assert classify("INSERT INTO t VALUES (1)") == Order()
    assert classify("insert into `a b`.t (`x``, y`, z) values") == Order()  # not a name we know
    assert classify('INSERT INTO `a b`.t (`x, y`, "z", n.m) VALUES ;') == Insert(
        "`a b`.t", ("`x, y`", '"z"', "n.m"), ""
    )
    assert classify("INSERT INTO TABLE t SETTINGS a = 1, b = 'x' FORMAT Native") == Insert(
        "t", (), "SETTINGS a = 1, b = 'x'"
    )


@pytest.mark.parametrize("end", ["", " ASYNC", " SYNC;", "\n"])
def test_a_kill_says_of_what(end: str) -> None:
    sql = f"KILL QUERY WHERE query_id = 'a b' AND position(query_id, 'x') > 0{end}"
    assert classify(sql) == Kill("query_id = 'a b' AND position(query_id, 'x') > 0")
