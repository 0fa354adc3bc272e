"""What happens to a comment before any model sees it; the same steps in training and serving.

Order matters: the text is cut first, because a tokenizer takes seconds for a million characters,
and special tokens are escaped last, because NFKC makes `</s>` out of its full-width twin.
"""

from __future__ import annotations

import re
import unicodedata

from msgspec import Struct

MAX_CHARACTERS = 1_000

URL = re.compile(r"https?://\S+")
MENTION = re.compile(r"@\w+")
SPACE = re.compile(r"\s+")
# Control tokens of the trunk and of other encoders; a user who types one means the characters.
SPECIAL = re.compile(r"<(/?s|pad|unk|mask)>|\[(CLS|SEP|PAD|UNK|MASK)\]", re.IGNORECASE)
# Cc control, Cs lone surrogates, Co private use, Cn unassigned. Cf stays in part: see `_printable`.
DROPPED = frozenset({"Cc", "Cs", "Co", "Cn"})
ZERO_WIDTH_JOINER = "\u200d"  # holds emoji families together


class CleanText(Struct, frozen=True):
    """A comment made safe for the tokenizer.

    `flagged`: there is nothing to read (empty, or no letter and no digit), or the item was no text
    at all; such a comment is not shown to the model, its answer is neutral.
    """

    text: str
    flagged: bool


def clean(text: object) -> CleanText:
    """Cut, drop what cannot be printed, NFKC, normalise, escape. Never raises, whatever it gets."""
    if not isinstance(text, str):
        return CleanText("", flagged=True)
    kept = SPACE.sub(" ", text[:MAX_CHARACTERS])
    if not kept.isprintable():
        kept = "".join(filter(_printable, kept))
    # NFKC can lengthen a text (one Arabic ligature becomes 18 characters): cut again.
    composed = unicodedata.normalize("NFKC", kept)[:MAX_CHARACTERS]
    escaped = SPECIAL.sub(_escape, normalise(composed))
    readable = any(character.isalnum() for character in escaped)
    return CleanText(escaped if readable else "", flagged=not readable)


def normalise(text: str) -> str:
    """Addresses become `http`, names of people `@user`, runs of space one space."""
    return SPACE.sub(" ", URL.sub("http", MENTION.sub("@user", text))).strip()


def _printable(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cf":
        return character == ZERO_WIDTH_JOINER
    return category not in DROPPED


def _escape(match: re.Match[str]) -> str:
    token = match.group()
    return f"{token[0]} {token[1:-1]} {token[-1]}"
