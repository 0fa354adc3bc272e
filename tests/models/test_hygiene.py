from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.hygiene import MAX_CHARACTERS, SPECIAL, clean

# Everything Python can hold in a string, lone surrogates included.
anything = st.text(st.characters(exclude_categories=()), max_size=300)


@given(st.one_of(anything, st.none(), st.integers(), st.binary(), st.lists(st.text())))
def test_whatever_comes_in_a_safe_text_comes_out(item: object) -> None:
    cleaned = clean(item)

    cleaned.text.encode("utf-8")
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Co", "Cn"} for c in cleaned.text)
    assert not SPECIAL.search(cleaned.text)
    assert cleaned.flagged == (cleaned.text == "")


@given(anything)
def test_a_short_clean_text_stays_as_it_is(text: str) -> None:
    once = clean(text)
    if len(once.text) < MAX_CHARACTERS // 2:
        assert clean(once.text) == once


@given(st.text(max_size=50), st.sampled_from(["<s>", "</s>", "<mask>", "<pad>", "<unk>", "[SEP]"]))
def test_special_tokens_never_survive_wherever_they_stand(around: str, token: str) -> None:
    for text in (around + token + around, token.upper(), token.replace("<", "\uff1c")):
        assert not SPECIAL.search(clean(text).text)


@pytest.mark.parametrize("text", ["", "   \n\t", "\ud800", "😀😀", "?!…", "\u200b\u200d", "\x00"])
def test_nothing_to_read_is_flagged(text: str) -> None:
    assert clean(text).flagged


def test_surrogates_controls_and_widths_are_mended() -> None:
    assert clean("ba\ud800d\x07 ＯＫ\u200b").text == "bad OK"
    assert clean("see https://example.org/x?y @someone  now").text == "see http @user now"


@settings(deadline=None)
@given(st.sampled_from(["a", "\ufdfa", "é ", "<s>", "\ud800"]))
def test_a_million_characters_cost_no_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.perf_counter()
    cleaned = clean(text)
    assert time.perf_counter() - started < 0.25
    # Escaping adds two spaces to each token at most.
    assert len(cleaned.text) <= 2 * MAX_CHARACTERS
