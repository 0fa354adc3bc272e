"""What kind of statement the gateway has before it."""

from __future__ import annotations

from infra.local.clickhouse_statements import Insert, Order, Rows, classify


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
