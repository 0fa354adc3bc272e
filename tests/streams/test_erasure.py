"""The ledger of the erased: what they left is skipped, what a new user of that name does is not."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from infra.pseudonym import Pseudonymiser
from streams import dead_letter, topics
from streams.erasure import DERIVED_GRACE_MS, Erasures
from streams.interactions import Arrivals
from streams.partition import PartitionState

KEY, LATER_KEY = b"1" * 32, b"2" * 32
AT = 1_790_000_000_000


@pytest.fixture
def ledger() -> Erasures:
    made = Erasures("kafka://127.0.0.1:1", Pseudonymiser(KEY))
    made.note(Pseudonymiser(KEY).user_keys("t", "gone"), AT)
    return made


def test_what_came_before_is_erased_and_what_comes_after_is_not(ledger: Erasures) -> None:
    assert ledger.erased("t", "gone", AT - 1) and ledger.erased("t", "gone", AT)
    assert not ledger.erased("t", "gone", AT + 1)
    assert not ledger.erased("t", "other", AT - 1)
    assert not ledger.erased("other", "gone", AT - 1)


def test_what_was_on_its_way_is_erased_too(ledger: Erasures) -> None:
    assert ledger.erased("t", "gone", AT + DERIVED_GRACE_MS, derived=True)
    assert not ledger.erased("t", "gone", AT + DERIVED_GRACE_MS + 1, derived=True)


def test_an_erasure_holds_after_the_key_was_changed() -> None:
    rotated = Erasures("kafka://127.0.0.1:1", Pseudonymiser(LATER_KEY, KEY))
    rotated.note(Pseudonymiser(KEY).user_keys("t", "gone"), AT)
    assert rotated.erased("t", "gone", AT)


def test_a_user_who_is_erased_twice_stays_erased_until_the_second_time(ledger: Erasures) -> None:
    keys = Pseudonymiser(KEY).user_keys("t", "gone")
    ledger.note(keys, AT + 50_000)
    ledger.note(keys, AT)  # read again, in any order
    assert ledger.erased("t", "gone", AT + 50_000)


def test_skipped_interactions_count_as_ignored_and_leave_the_batch(ledger: Erasures) -> None:
    state = PartitionState(0, 1)
    users, received = ["gone", "other", "gone"], [AT - 5, AT - 5, AT + 20_000]
    arrivals = Arrivals(
        topics.CLICKS, "t", ["a", "b", "c"], users, ["i"] * 3, [0.0] * 3, [1, 2, 3], received
    )
    kept = ledger.without(arrivals, state, derived=False)
    assert kept.events == ["b", "c"] and kept.offsets == [2, 3] and state.ignored == 1
    later = arrivals.chosen([False, False, True])
    assert ledger.without(later, state, derived=False) is later


def test_dead_letters_of_the_erased_are_not_sent_again(ledger: Erasures) -> None:
    def letter(user: str, at_ms: int) -> dead_letter.DeadLetter:
        return dead_letter.DeadLetter(
            reason="r", topic=topics.CLICKS, partition=0, offset=1,
            dead_lettered_at=datetime.fromtimestamp(at_ms / 1000, UTC),
            payload_base64="", payload_bytes=0,
            key_base64=base64.b64encode(f"t/{user}".encode()).decode(),
        )  # fmt: skip

    letters = [letter("gone", AT), letter("other", AT), letter("gone", AT + 60_000)]
    assert dead_letter.of_nobody_erased(letters, ledger) == letters[1:]


def test_what_waited_for_longer_is_erased_by_when_it_was_done(ledger: Erasures) -> None:
    late = AT + 3 * DERIVED_GRACE_MS
    assert ledger.erased("t", "gone", late, derived=True, source_ms=AT)
    assert not ledger.erased("t", "gone", late, derived=True, source_ms=AT + 1)


def test_a_dead_letter_without_a_key_is_known_by_what_it_says(ledger: Erasures) -> None:
    def letter(payload: bytes) -> dead_letter.DeadLetter:
        return dead_letter.DeadLetter(
            reason="r", topic=topics.CLICKS, partition=0, offset=1,
            dead_lettered_at=datetime.fromtimestamp(AT / 1000, UTC),
            payload_base64=base64.b64encode(payload).decode(), payload_bytes=len(payload),
        )  # fmt: skip

    his = letter(b'{"type": "click", "user_id": "gone", "tenant": "t"}')
    others = [letter(b'{"user_id": "gone"}'), letter(b'{"user_id": "other", "tenant": "t"}'),
              letter(b"no JSON at all \xff"), letter(b"[" * 100_000)]  # fmt: skip
    assert dead_letter.of_nobody_erased([his, *others], ledger) == others
