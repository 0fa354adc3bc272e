"""Simulated comments: sentiment follows the course's quality, words follow the sentiment."""

from __future__ import annotations

from random import Random

from streams.simulate_phrases import (
    MIXED,
    OPENINGS,
    PHRASES,
    SCANDALS,
    Cause,
    Sentiment,
)

CAUSES: tuple[Cause, ...] = ("refund", "certificate", "outage")
NEUTRAL_SHARE, MIXED_SHARE = 0.15, 0.2  # of all comments; of the neutral ones
WORST, BEST = 0.45, 0.04  # share of negative comments on a course of quality 0 and 1
RATINGS: dict[Sentiment, tuple[float, ...]] = {
    "negative": (1.0, 1.0, 2.0),
    "neutral": (3.0, 3.0, 4.0),
    "positive": (4.0, 5.0, 5.0),
}


def negative_share(quality: float) -> float:
    """How often a course of this quality (0 to 1) is commented on negatively."""
    return WORST + (BEST - WORST) * quality


def sentiment_of(quality: float, random: Random) -> Sentiment:
    """Draw what somebody thinks of a course of this quality (0 to 1)."""
    chance = random.random()
    if chance < negative_share(quality):
        return "negative"
    return "neutral" if chance > 1 - NEUTRAL_SHARE else "positive"


def rating_of(sentiment: Sentiment, random: Random) -> float:
    """Stars, 1 to 5."""
    return random.choice(RATINGS[sentiment])


def write(sentiment: Sentiment, language: str, subject: str, random: Random) -> str:
    """A comment of that sentiment in "zh" or "en"; some neutral ones have two sides."""
    if sentiment == "neutral" and random.random() < MIXED_SHARE:
        return _finish(
            random.choice(OPENINGS[language]), [random.choice(MIXED[language])], language
        )
    phrases = PHRASES[sentiment, language]
    chosen = random.sample(phrases, 1 if random.random() < 0.35 else 2)
    opening = "" if sentiment == "neutral" else random.choice(OPENINGS[language])
    return _finish(opening, [text.format(subject=subject) for text in chosen], language)


def complain(cause: Cause, language: str, random: Random) -> str:
    """A comment of somebody whom the scandal has hit."""
    phrases = SCANDALS[cause, language]
    return _finish("", random.sample(phrases, 1 if random.random() < 0.6 else 2), language)


def _finish(opening: str, phrases: list[str], language: str) -> str:
    if language == "zh":
        return opening + ",".join(phrases) + "。"
    return opening + " ".join(text if text.endswith("?") else text + "." for text in phrases)
