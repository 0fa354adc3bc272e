"""The simulated users: what they like, how it drifts, and what they look at next.

A step of a user is one of three: he follows a path (the next course of the series, or a companion
of the last one), follows an interest, or looks at what everybody looks at. The first is what a
recommender can learn from others, the last is all that a popularity list knows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from streams.events import Profile
from streams.simulate_catalogue import SUBJECTS, Course

TOPICS = tuple(SUBJECTS)
FOLLOWS_PATH, FOLLOWS_INTEREST = 0.45, 0.35
FOLLOWING_NEXT = 0.6  # of a path: the next course of the series, else a companion
COMPANION_WEIGHTS = (0.6, 0.3, 0.1)
DRIFT = 0.01  # chance a step that one interest gives way to another
DECLARES, OPTS_OUT, CHINESE = 0.7, 0.04, 0.6
LIFETIME_STEPS = 60  # mean; then he leaves and somebody new takes his place
TRIES = 8


class User:
    """A user as he is, which is more than his profile says."""

    def __init__(self, number: int, random: Random) -> None:
        self.name = user_name(number)
        self.language = "zh" if random.random() < CHINESE else "en"
        self.interests = random.sample(TOPICS, random.choice((1, 2, 2, 3)))
        self.declared = tuple(self.interests) if random.random() < DECLARES else ()
        self.personalise = random.random() >= OPTS_OUT
        self.level = random.choice(("beginner", "intermediate", "advanced"))
        self.seen: set[int] = set()
        self.last = -1
        self.pending: list[tuple[str, int]] = []  # purchases and comments still to come

    def profile(self, tenant: str) -> Profile:
        """What he says of himself; interests only if he chose to declare them."""
        return Profile(
            user_id=self.name,
            tenant=tenant,
            interests=self.declared,
            level=self.level if self.declared else None,
            personalise=self.personalise,
        )

    def drift(self, random: Random) -> None:
        """Now and then an interest gives way to another. Nobody updates his profile for it."""
        if random.random() < DRIFT:
            fresh = random.choice([topic for topic in TOPICS if topic not in self.interests])
            self.interests[random.randrange(len(self.interests))] = fresh


def user_name(number: int) -> str:
    """The user id of the user with this number."""
    return f"user-{number:06d}"


class Shelf:
    """Courses to choose from by pull."""

    def __init__(self, courses: Sequence[Course], indices: Sequence[int]) -> None:
        self._indices = list(indices)
        self._sums = list(accumulate(courses[index].pull for index in indices))

    def add(self, index: int, pull: float) -> None:
        """One more course."""
        self._indices.append(index)
        self._sums.append((self._sums[-1] if self._sums else 0.0) + pull)

    def choose(self, random: Random, seen: set[int]) -> int:
        """One that the user has not seen, by pull; -1 where luck or the shelf runs out."""
        for _ in range(TRIES if self._sums else 0):
            index = self._indices[bisect_left(self._sums, random.random() * self._sums[-1])]
            if index not in seen:
                return index
        return -1


class Population:
    """All users, and how they choose.

    Args:
        users: how many there are at any time.
        courses: the catalogue; what is not available is never chosen.
        first: number of the first user; the others follow.
    """

    def __init__(self, users: int, courses: Sequence[Course], seed: int, first: int = 0) -> None:
        self.random = Random(f"users/{seed}")
        self._courses = courses
        self._offered = [course.item.available for course in courses]
        offered = [index for index, given in enumerate(self._offered) if given]
        self._everything = Shelf(courses, offered)
        self._by_topic = {
            topic: Shelf(courses, [i for i in offered if topic in courses[i].item.topics])
            for topic in TOPICS
        }
        self._born = first + users
        self.users = [User(number, self.random) for number in range(first, first + users)]
        self._activity = list(accumulate(self.random.lognormvariate(0, 0.6) for _ in range(users)))

    def offer(self, course: Course) -> None:
        """A course that was published just now, already the last of the catalogue."""
        index = len(self._offered)
        self._offered.append(True)
        for shelf in (self._everything, *(self._by_topic[t] for t in course.item.topics)):
            shelf.add(index, course.pull)

    def somebody(self, random: Random | None = None) -> int:
        """The place of the user who acts next; some are more active than others."""
        chance = (random or self.random).random()
        return bisect_left(self._activity, chance * self._activity[-1])

    def leaves(self, user: User) -> bool:
        """Whether this was his last step: by chance, or because he has seen most of it."""
        if 2 * len(user.seen) > len(self._courses):
            return True
        return self.random.random() < 1 / LIFETIME_STEPS

    def replace(self, place: int) -> User:
        """Somebody new in the place of one who left."""
        self.users[place] = User(self._born, self.random)
        self._born += 1
        return self.users[place]

    def step(self, user: User) -> int:
        """The course that the user looks at next; -1 where he has seen all he would look at."""
        user.drift(self.random)
        chance = self.random.random()
        chosen = -1
        if chance < FOLLOWS_PATH and user.last >= 0:
            chosen = self._along_a_path(user)
        if chosen < 0 and chance < FOLLOWS_PATH + FOLLOWS_INTEREST:
            chosen = self._by_topic[self.random.choice(user.interests)].choose(
                self.random, user.seen
            )
        if chosen < 0:
            chosen = self._everything.choose(self.random, user.seen)
        if chosen >= 0:
            user.seen.add(chosen)
            user.last = chosen
        return chosen

    def _along_a_path(self, user: User) -> int:
        last = self._courses[user.last]
        if self.random.random() < FOLLOWING_NEXT and self._new_to(user, last.following):
            return last.following
        if not last.companions:
            return -1
        weights = COMPANION_WEIGHTS[: len(last.companions)]
        companion = self.random.choices(last.companions, weights)[0]
        return companion if self._new_to(user, companion) else -1

    def _new_to(self, user: User, index: int) -> bool:
        return index >= 0 and self._offered[index] and index not in user.seen
