"""The simulated catalogue: courses in series, bilingual, with a quality and a pull of their own.

A series is four courses of one provider on one subject, each the prerequisite of the next. What a
platform would not know (quality, pull, companions) is kept beside the item: it is the truth that
users act upon.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import msgspec
from msgspec import Struct

from streams.events import Item

# topic → subjects as (Chinese, English)
SUBJECTS: dict[str, tuple[tuple[str, str], ...]] = {
    "machine-learning": (
        ("机器学习", "Machine Learning"),
        ("深度学习", "Deep Learning"),
        ("计算机视觉", "Computer Vision"),
        ("自然语言处理", "Natural Language Processing"),
        ("推荐系统", "Recommender Systems"),
    ),
    "data": (
        ("数据分析", "Data Analysis"),
        ("SQL 数据库", "SQL Databases"),
        ("数据可视化", "Data Visualisation"),
        ("统计学", "Statistics"),
        ("大数据", "Big Data"),
    ),
    "programming": (
        ("Python 编程", "Python"),
        ("Java 开发", "Java"),
        ("Go 语言", "Go"),
        ("C++ 编程", "C++"),
        ("算法与数据结构", "Algorithms"),
    ),
    "web": (
        ("前端开发", "Web Front Ends"),
        ("React 开发", "React"),
        ("Node.js 后端", "Node.js"),
        ("小程序开发", "Mini Programs"),
        ("网页设计", "Web Design"),
    ),
    "cloud": (
        ("云计算", "Cloud Computing"),
        ("Docker 容器", "Docker"),
        ("Kubernetes 运维", "Kubernetes"),
        ("Linux 系统", "Linux"),
        ("网络安全", "Network Security"),
    ),
    "languages": (
        ("商务英语", "Business English"),
        ("日语", "Japanese"),
        ("雅思备考", "IELTS"),
        ("法语", "French"),
        ("对外汉语", "Chinese for Learners"),
    ),
    "finance": (
        ("股票投资", "Stock Investing"),
        ("财务报表", "Financial Statements"),
        ("公司金融", "Corporate Finance"),
        ("量化交易", "Quantitative Trading"),
        ("会计", "Accounting"),
    ),
    "business": (
        ("产品经理", "Product Management"),
        ("项目管理", "Project Management"),
        ("领导力", "Leadership"),
        ("市场营销", "Marketing"),
        ("用户运营", "Growth"),
    ),
    "design": (
        ("UI 设计", "UI Design"),
        ("Photoshop", "Photoshop"),
        ("插画", "Illustration"),
        ("视频剪辑", "Video Editing"),
        ("摄影", "Photography"),
    ),
    "exams": (
        ("考研数学", "Graduate Entrance Maths"),
        ("公务员考试", "Civil Service Exam"),
        ("教师资格证", "Teaching Certificate"),
        ("注册会计师", "CPA"),
        ("法律职业资格", "Bar Exam"),
    ),
    "life": (
        ("心理学", "Psychology"),
        ("写作", "Writing"),
        ("演讲与口才", "Public Speaking"),
        ("时间管理", "Time Management"),
        ("健身", "Fitness"),
    ),
    "arts": (
        ("钢琴", "Piano"),
        ("吉他", "Guitar"),
        ("书法", "Calligraphy"),
        ("油画", "Oil Painting"),
        ("乐理", "Music Theory"),
    ),
}

STAGES: tuple[tuple[str, str, str], ...] = (
    ("零基础入门", "First Steps", "beginner"),
    ("核心方法", "Core Methods", "intermediate"),
    ("项目实战", "Hands-On Projects", "intermediate"),
    ("高级进阶", "Advanced Topics", "advanced"),
)
PROVIDERS = ("qinghe", "yunfan", "northstar", "lanterna", "zhixing", "openloft", "haige", "quill")
NEIGHBOURS = {"machine-learning": "data", "web": "programming", "business": "finance"}
COMPANIONS = 3
UNAVAILABLE_SHARE = 0.02
DAY_SECONDS = 86_400.0


class Course(Struct, frozen=True):
    """A course with what only the simulation knows of it.

    Attributes:
        quality: 0 to 1; decides how it is commented on.
        pull: relative chance to be looked at by somebody who follows no path.
        following: index of the next course of the series, -1: none.
        companions: indices of courses that go well with it, best first.
    """

    item: Item
    zh: str
    en: str
    quality: float
    pull: float
    following: int
    companions: tuple[int, ...]

    @property
    def topic(self) -> str:
        """The main topic."""
        return self.item.topics[0]


def make_catalogue(items: int, tenant: str, start: float, seed: int) -> list[Course]:
    """`items` courses, in series of four over all subjects, further providers after that.

    Args:
        start: epoch seconds; all were published before it.
    """
    random = Random(f"catalogue/{seed}")
    subjects = [
        (topic, zh, en)
        for row in range(5)
        for topic in SUBJECTS
        for zh, en in [SUBJECTS[topic][row]]
    ]
    by_topic: dict[str, list[int]] = {}
    plans = []
    for index in range(items):
        series, stage = divmod(index, len(STAGES))
        edition, subject = divmod(series, len(subjects))
        topic, zh, en = subjects[subject]
        provider = PROVIDERS[(subject + edition) % len(PROVIDERS)]
        by_topic.setdefault(topic, []).append(index)
        plans.append((stage, topic, zh, en, provider, edition))
    courses = []
    for index, (stage, topic, zh, en, provider, edition) in enumerate(plans):
        series_goes_on = stage + 1 < len(STAGES) and index + 1 < items
        others = [other for other in by_topic[topic] if other // 4 != index // 4]
        courses.append(
            Course(
                item=_item(index, (stage, topic, zh, en, provider, edition), tenant, start, random),
                zh=zh,
                en=en,
                quality=random.betavariate(5, 2),
                pull=random.lognormvariate(0, 0.9) * (1.5 if stage == 0 else 1.0),
                following=index + 1 if series_goes_on else -1,
                companions=tuple(random.sample(others, min(COMPANIONS, len(others)))),
            )
        )
    return courses


def new_course(index: int, courses: Sequence[Course], tenant: str, at: float, seed: int) -> Course:
    """A course published at `at`, epoch seconds: one more class of a subject, with much pull."""
    random = Random(f"new/{seed}/{index}")
    topic = random.choice(list(SUBJECTS))
    zh, en = random.choice(SUBJECTS[topic])
    stage, provider, edition = random.randrange(4), random.choice(PROVIDERS), random.randrange(1, 9)
    plan = (stage, topic, zh, en, provider, edition)
    others = [n for n, course in enumerate(courses) if course.topic == topic]
    item = msgspec.structs.replace(
        _item(index, plan, tenant, at, random),
        available=True,
        prerequisites=(),
        published_at=datetime.fromtimestamp(int(at), UTC),
    )
    return Course(
        item=item,
        zh=zh,
        en=en,
        quality=random.betavariate(5, 2),
        pull=random.lognormvariate(0, 0.9),
        following=-1,
        companions=tuple(random.sample(others, min(COMPANIONS, len(others)))),
    )


def course_id(index: int) -> str:
    """The item id of the course with this index."""
    return f"course-{index:05d}"


def _item(
    index: int,
    plan: tuple[int, str, str, str, str, int],
    tenant: str,
    start: float,
    random: Random,
) -> Item:
    stage, topic, zh, en, provider, edition = plan
    stage_zh, stage_en, level = STAGES[stage]
    again_zh, again_en = (f"({edition + 1} 班)", f" (Class {edition + 1})") if edition else ("", "")
    topics = (topic, NEIGHBOURS[topic]) if topic in NEIGHBOURS and stage == 2 else (topic,)
    price = (
        0.0 if stage == 0 and random.random() < 0.3 else 49.0 + 50.0 * random.randint(0, 3 + stage)
    )
    published = start - DAY_SECONDS * random.uniform(5, 700)
    return Item(
        item_id=course_id(index),
        tenant=tenant,
        title=f"{zh}{stage_zh}{again_zh} · {en}: {stage_en}{again_en}",
        description=(
            f"{provider} 出品:{zh}{stage_zh},中英双语字幕。"
            f" A {level} course on {en} by {provider}, with subtitles in Chinese and English."
        ),
        topics=topics,
        level=level,
        skills=(en.lower(),),
        prerequisites=(course_id(index - 1),) if stage else (),
        price=price,
        available=random.random() >= UNAVAILABLE_SHARE,
        published_at=datetime.fromtimestamp(int(published), UTC),
        provider_id=provider,
        language="zh" if random.random() < 0.6 else "en",
    )
