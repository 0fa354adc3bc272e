"""What an alert says, and what the words of others must not do in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from streams.events import Alert, AlertComment, AlertSlice
from streams.monitor_words import alert_fields, link, plain

AT = datetime(2026, 3, 2, 12, 7, tzinfo=UTC)


def alert(**more: Any) -> Alert:
    made = Alert(
        fingerprint="f00d", tenant="school", key="item:c-3", channel="share", state="firing",
        started_at=AT, raised_at=AT, evidence=5.3, threshold=4.5, negatives=18, comments=24,
        share=0.75, baseline=0.16, effect=4.7, severity="major", title="Oboe for beginners",
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def said(**more: Any) -> dict[str, str]:
    found: dict[str, str] = alert_fields(alert(**more))["annotations"]
    return found


def test_an_alert_says_what_where_since_when_and_what_to_do() -> None:
    words = said(slices=(AlertSlice({"surface": "app"}, 1.0, 0.8, 0.1, 20),), terms=("refund",))
    summary = "Negative comments on Oboe for beginners: 18 of 24 (75%, usually 16%)"
    assert words["summary"] == summary
    assert words["since"] == "2026-03-02 12:07 UTC"
    assert (words["slice"], words["terms"]) == ("surface app", "refund")
    assert "acknowledge" in words["action"]


@pytest.mark.parametrize(
    ("key", "about"),
    [
        ("tenant", "Negative comments on everything of school: "),
        ("topic:refunds: late", "Negative comments on the topic refunds: late: "),
        ("item:c-3", "Negative comments on item:c-3: "),
        ("model:v/2/zh", "The classifier v/2 finds more negative comments in zh: "),
        ("model:v2/", "The classifier v2 finds more negative comments: "),
    ],
)
def test_every_kind_of_key_reads_as_words(key: str, about: str) -> None:
    assert said(key=key, title="")["summary"].startswith(about)


def test_examples_without_their_words_are_left_out() -> None:
    comments = (AlertComment("a", "", 0.9), AlertComment("b", "so slow", 0.9))
    assert said(examples=comments)["examples"] == "so slow"
    assert said(examples=comments[:1])["examples"] == ""


def test_an_end_says_that_it_is_one_and_a_drift_what_to_look_at() -> None:
    assert said(state="resolved")["summary"].startswith("Over: ")
    assert "rollback" in said(channel="drift", key="model:v2/zh")["action"]


HOSTILE = (
    '<!channel> <@U012> @everyone @here <at user_id="all">all</at>',
    "[acknowledge](https://evil.example/login) <https://evil.example|here>",
    "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "one\nALERT resolved\r\ntwo\u2028three",
    "\u202egpj.exe\u2066 ＠\u200bchannel @\u200dhere",
    "`code` ```block``` <img src=x onerror=alert(1)>",
    "x" * 5_000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_others_mean_nothing_to_what_shows_them(text: str) -> None:
    comment = AlertComment("c", text, 0.99)
    words = said(title=text, examples=(comment,), terms=(text,), common=(f"topic:{text}",))
    for name, value in words.items():
        if name not in ("link", "action"):
            assert not re.search(r"[@<>\[\]`\n\r\x1b\x07\u2028\u202e\u2066\u200b]|://", value), name
            assert len(value) < 500


def test_plain_words_stay_as_they_are() -> None:
    for text in ("课程打不开，客服也不理人", "50 % off & no refund? (really)", "Ça ne marche pas…"):
        assert plain(text) == text


def test_labels_are_exact_since_silences_match_them() -> None:
    labels = alert_fields(alert(key="item:<a@b>"))["labels"]
    assert (labels["key"], labels["incident"]) == ("item:<a@b>", "f00d")


def test_a_link_leads_to_the_tenants_page() -> None:
    assert link("https://ops.example/", "school", "f1") == (
        "https://ops.example/?tenant=school#alert=f1"
    )
    assert link("", "school", "f1") == "/?tenant=school#alert=f1"
