"""A knowledge platform with a known truth: what `springtide simulate` and the demo send.

First the catalogue and the profiles, then interactions in the order of their event times. Users
follow series, companions and interests that drift (`simulate_users`), so that a recommender has
something to learn; comments follow the quality of the course; and one course has a scandal: a
burst of complaints with one cause, at a time that `scandal_of` tells. Equal configurations give
equal streams. The platform's clock starts in the past and runs `speed` times as fast as the wall
clock of whoever sends it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

from msgspec import Struct

from streams import topics
from streams.events import Click, Comment, Event, Purchase, encode, item_key, user_key
from streams.sender import Outbound
from streams.simulate_catalogue import DAY_SECONDS, Course, make_catalogue, new_course
from streams.simulate_comments import (
    CAUSES,
    complain,
    negative_share,
    rating_of,
    sentiment_of,
    write,
)
from streams.simulate_phrases import Cause
from streams.simulate_users import Population, User

START = datetime(2024, 3, 4, tzinfo=UTC).timestamp()  # a Monday, far enough back for weeks of it
SPEED = 10_800.0  # three hours a second: a day passes in 8 s, the scandal comes after 18 s
HOUR_SECONDS = 3600.0
BUYS, COMMENTS = 0.15, 0.16  # chance that a click leads to it: 11 of 100 are comments
SWING = 0.4  # of the rate over a day
COMPLAINTS_SHARE = 0.92  # of the comments in the burst
SURFACES = ("home", "search", "course", "app")


class SimulationConfig(Struct, frozen=True, kw_only=True):
    """The sizes of a simulation.

    Attributes:
        users: at any time; who leaves is replaced by somebody new.
        first_user: number of the first of them.
        items: courses.
        rate: interactions per second of the wall clock, on average.
        speed: seconds of the platform's clock per second of the wall clock.
        seconds: length, of the wall clock; infinity: endless.
        start: of the platform's clock, epoch seconds.
        latest: the platform's clock stops here, epoch seconds (events of the future are refused).
        run: prefix of the event ids: runs of one name repeat each other.
        swing: by this share more come in the afternoon than on average, and less at night.
        comments: chance that a click leads to one.
        scandal_after_hours, scandal_hours: of the platform's clock; scandal_comments: 0: none.
        new_items_a_day, looks_an_hour: of the platform's clock: courses published, pages opened.
    """

    users: int = 500
    first_user: int = 0
    items: int = 240
    rate: float = 150.0
    speed: float = SPEED
    seconds: float = 90.0
    seed: int = 7
    tenant: str = "default"
    start: float = START
    latest: float = math.inf
    run: str = "sim"
    swing: float = SWING
    comments: float = COMMENTS
    scandal_after_hours: float = 54.0
    scandal_hours: float = 8.0
    scandal_comments: int = 60
    new_items_a_day: float = 4.0
    looks_an_hour: float = 120.0


class Look(Struct, frozen=True):
    """A user opens a page that shows him his list; `at`: epoch seconds."""

    at: float
    tenant: str
    user: str
    surface: str
    is_interaction: bool = False


class Scandal(Struct, frozen=True):
    """The truth about the injected burst. Times are epoch seconds."""

    item_id: str
    title: str
    cause: Cause
    starts_at: float
    ends_at: float
    comments: int


def simulate(config: SimulationConfig) -> Iterator[Outbound]:
    """The whole stream: catalogue, profiles, interactions."""
    return (each for each in _Simulation(config).stream() if isinstance(each, Outbound))


def simulate_with_looks(config: SimulationConfig) -> Iterator[Outbound | Look]:
    """The same, and when whose list is looked at."""
    return _Simulation(config).stream()


def scandal_of(config: SimulationConfig) -> Scandal:
    """Which course has the scandal, why and when."""
    return _scandal(config, _courses(config))[1]


def negative_shares(config: SimulationConfig) -> dict[str, float]:
    """Item id → share of negative comments that the course gets in ordinary times."""
    return {course.item.item_id: negative_share(course.quality) for course in _courses(config)}


def _courses(config: SimulationConfig) -> list[Course]:
    return make_catalogue(config.items, config.tenant, config.start, config.seed)


def _scandal(config: SimulationConfig, courses: list[Course]) -> tuple[Course, Scandal]:
    """A well-liked course that many look at: nobody would expect it there."""
    random = Random(f"scandal/{config.seed}")
    offered = [course for course in courses if course.item.available]
    known = sorted(offered, key=lambda course: -course.pull)[: max(1, len(offered) // 8)]
    course = random.choice(sorted(known, key=lambda course: -course.quality)[: len(known) // 2 + 1])
    starts_at = config.start + config.scandal_after_hours * HOUR_SECONDS
    scandal = Scandal(
        course.item.item_id,
        course.item.title,
        random.choice(CAUSES),
        starts_at,
        starts_at + config.scandal_hours * HOUR_SECONDS,
        config.scandal_comments,
    )
    return course, scandal


class _Published(Struct, frozen=True):
    """A course is published; which one is found when it is its turn."""

    at: float


def _time(each: Outbound | Look | _Published) -> float:
    return each.at


class _Simulation:
    """One run: the state that the stream goes through."""

    def __init__(self, config: SimulationConfig) -> None:
        self._config = config
        self._courses = _courses(config)
        self._hit, self._scandal = _scandal(config, self._courses)
        self._population = Population(config.users, self._courses, config.seed, config.first_user)
        self._random = Random(f"events/{config.seed}")
        self._count = 0

    def stream(self) -> Iterator[Outbound | Look]:
        tenant, start = self._config.tenant, self._config.start
        for course in self._courses:
            key = item_key(tenant, course.item.item_id)
            yield Outbound(topics.ITEMS, key, encode(course.item), start)
        for user in self._population.users:
            yield self._profile(user, start)
        streams: tuple[Iterator[Outbound | Look | _Published], ...]
        streams = (self._burst(), self._published(), self._looks())
        beside: Iterator[Outbound | Look | _Published] = heapq.merge(*streams, key=_time)
        waiting = next(beside, None)
        for at in self._times():
            while waiting is not None and waiting.at <= at:
                yield self._publish(waiting) if isinstance(waiting, _Published) else waiting
                waiting = next(beside, None)
            yield from self._act(at)

    def _published(self) -> Iterator[_Published]:
        """New courses, evenly strewn."""
        random, at = Random(f"published/{self._config.seed}"), self._config.start
        while self._config.new_items_a_day > 0:
            at += random.expovariate(self._config.new_items_a_day / DAY_SECONDS)
            yield _Published(at)

    def _publish(self, published: _Published) -> Outbound:
        config, index = self._config, len(self._courses)
        course = new_course(index, self._courses, config.tenant, published.at, config.seed)
        self._courses.append(course)
        self._population.offer(course)
        key = item_key(config.tenant, course.item.item_id)
        return Outbound(topics.ITEMS, key, encode(course.item), published.at)

    def _looks(self) -> Iterator[Look]:
        """Pages opened, by the more active users more often."""
        config, at = self._config, self._config.start
        random = Random(f"looks/{config.seed}")
        while config.looks_an_hour > 0:
            at += random.expovariate(config.looks_an_hour / HOUR_SECONDS)
            user = self._population.users[self._population.somebody(random)]
            yield Look(at, config.tenant, user.name, random.choice(SURFACES))

    def _times(self) -> Iterator[float]:
        """Poisson arrivals with a daily swing, by thinning."""
        config = self._config
        rate = config.rate / config.speed  # per second of the platform's clock
        end = min(config.start + config.seconds * config.speed, config.latest)
        at = config.start
        while True:
            at += self._random.expovariate(rate * (1 + config.swing))
            if at >= end:
                return
            hour = at / HOUR_SECONDS % 24
            busy = 1 - config.swing * math.cos((hour - 3) / 12 * math.pi)  # quiet at 3, busy at 15
            if self._random.random() * (1 + config.swing) < busy:
                yield at

    def _burst(self) -> Iterator[Outbound]:
        """The complaints, dense at first, each by somebody else as far as the users go."""
        random, scandal = Random(f"burst/{self._config.seed}"), self._scandal
        span = scandal.ends_at - scandal.starts_at
        times = sorted(random.random() ** 1.5 for _ in range(scandal.comments))
        places: list[int] = []
        for share in times:
            if not places:
                places = random.sample(range(len(self._population.users)), self._config.users)
            user = self._population.users[places.pop()]
            at = scandal.starts_at + span * share
            if random.random() < COMPLAINTS_SHARE:
                text, rating = complain(scandal.cause, user.language, random), 1.0
            else:
                subject = self._hit.zh if user.language == "zh" else self._hit.en
                text, rating = write("positive", user.language, subject, random), 5.0
            yield self._comment(at, user, self._hit, text, rating)

    def _act(self, at: float) -> Iterator[Outbound]:
        place = self._population.somebody()
        user = self._population.users[place]
        if user.pending:
            kind, index = user.pending.pop(0)
            yield self._buy(at, user, index) if kind == "purchase" else self._speak(at, user, index)
            return
        if self._population.leaves(user):
            user = self._population.replace(place)
            yield self._profile(user, at)
        index = self._population.step(user)
        if index < 0:
            return
        if self._random.random() < BUYS:
            user.pending.append(("purchase", index))
        if self._random.random() < self._config.comments:
            user.pending.append(("comment", index))
        dwell = round(self._random.lognormvariate(3.5, 0.8), 1)
        who = self._who(at, user, self._courses[index])
        surface = self._random.choice(SURFACES)
        click = Click(**who, surface=surface, dwell_seconds=dwell)
        yield self._event(at, topics.CLICKS, click)

    def _buy(self, at: float, user: User, index: int) -> Outbound:
        course = self._courses[index]
        who = self._who(at, user, course)
        return self._event(at, topics.PURCHASES, Purchase(**who, price=course.item.price or 0.0))

    def _speak(self, at: float, user: User, index: int) -> Outbound:
        course, random = self._courses[index], self._random
        sentiment = sentiment_of(course.quality, random)
        subject = course.zh if user.language == "zh" else course.en
        text = write(sentiment, user.language, subject, random)
        return self._comment(at, user, course, text, rating_of(sentiment, random))

    def _comment(self, at: float, user: User, course: Course, text: str, rating: float) -> Outbound:
        who = self._who(at, user, course)
        return self._event(
            at, topics.COMMENTS, Comment(**who, text=text, rating=rating, language=user.language)
        )

    def _who(self, at: float, user: User, course: Course) -> dict[str, Any]:
        self._count += 1
        return {
            "id": f"{self._config.run}-{self._count}",
            "occurred_at": datetime.fromtimestamp(round(at, 3), UTC),
            "tenant": self._config.tenant,
            "user_id": user.name,
            "item_id": course.item.item_id,
        }

    def _event(self, at: float, topic: str, event: Event) -> Outbound:
        tenant, user = event.tenant, event.user_id
        return Outbound(topic, user_key(tenant, user), encode(event), at, tenant, user)

    def _profile(self, user: User, at: float) -> Outbound:
        tenant = self._config.tenant
        return Outbound(topics.USERS, user_key(tenant, user.name), encode(user.profile(tenant)), at)
