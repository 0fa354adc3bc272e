"""The quick form of a fetch is aiokafka's, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11

from streams.fetch_wire import QuickFetch

KAFKA = {1: (4, 18)}
OLDER = {1: (4, 9)}
ASKED = [("clicks.v1", [(3, 17, 1000), (0, 2**40, 1)]), ("kurse-äö.v1", []), ("x", [(1, 0, 9)])]


def _prepared(kind: type[FetchRequest], versions: dict[int, tuple[int, int]]) -> Any:
    return kind(10, 1, 2**20, 1, ASKED, rack_id="räck").prepare(versions)


@pytest.mark.parametrize("versions", [KAFKA, OLDER])
def test_a_request_is_written_as_aiokafka_writes_it(versions: dict[int, tuple[int, int]]) -> None:
    ours, theirs = (_prepared(kind, versions) for kind in (QuickFetch, FetchRequest))
    assert ours.encode() == theirs.encode()
    assert ours.API_VERSION == theirs.API_VERSION


def test_a_response_is_read_as_aiokafka_reads_it() -> None:
    came = (2, 0, 9, 8, 1, [(5, 6), (7, 8)], -1, b"records")
    refused = (3, 6, -1, -1, -1, None, -1, b"")
    nothing = (0, 0, 4, 4, 0, [], -1, b"")
    written = FetchResponse_v11(3, 0, 7, [("clicks.v1", [came, nothing, refused]), ("x", [])])
    read = _prepared(QuickFetch, KAFKA).RESPONSE_TYPE.decode(written.encode())
    assert (read.throttle_time_ms, read.error_code, read.session_id) == (3, 0, 7)
    assert read.topics == [("clicks.v1", [came, refused]), ("x", [])]
    assert isinstance(_prepared(QuickFetch, KAFKA), FetchRequest_v11)
