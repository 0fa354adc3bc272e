"""The ops page in a real browser: a list changes, an alert appears, and nothing leaves home."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from infra import warehouse
from infra.serving import ListWrite, RedisTopKStore, StoredList
from infra.warehouse import Warehouse
from streams import topics

TENANT = f"browser-{secrets.token_hex(4)}"
HOSTILE = '<img src="https://elsewhere.example/x.png" onerror="alert(1)">'


class Platform:
    """What the page looks at: an API, and the stores that the workers would fill."""

    def __init__(self, stack: Any, url: str, clickhouse_url: str) -> None:
        self.url = url
        self.store = RedisTopKStore.connect(stack.redis_url)
        self.warehouse = Warehouse(clickhouse_url)

    def write_list(self, user: str, seq: int, *items: str) -> None:
        scores = [-0.4 * place for place in range(len(items))]
        stored = StoredList(1, (1, seq), 1_772_366_400_000, list(items), scores, "blend", 0)
        assert self.store.write_many([ListWrite(TENANT, user, stored)], 600) == [True]
        self.store.note_recent([(TENANT, user)])

    def click_for(self, seconds: int) -> None:
        now = datetime.now(UTC)
        times = [now - timedelta(seconds=second) for second in range(2, seconds)]
        rows = {"tenant": [TENANT] * len(times), "type": ["click"] * len(times)}
        columns = {**rows, "received_at": times, "offset": list(range(len(times)))}
        self.warehouse.insert("interactions", columns, "")

    def raise_alert(self, **more: Any) -> None:
        now = datetime.now(UTC)
        texts = ["证书上名字写错，客服不理", f"Refund me {HOSTILE}"]
        told = [{"id": str(i), "text": text, "negative": 0.97} for i, text in enumerate(texts)]
        row = {
            "tenant": TENANT, "fingerprint": "f", "key": "item:oboe", "channel": "share",
            "state": "firing", "started_at": now - timedelta(hours=1), "raised_at": now,
            "received_at": now, "evidence": 6.2, "threshold": 4.5, "negatives": 18, "comments": 24,
            "share": 0.75, "baseline": 0.16, "effect": 4.7, "severity": "severe",
            "title": "Oboe for beginners", "examples": json.dumps(told), "offset": 1, "historic": 0,
            **more,
        }  # fmt: skip
        columns = {name: [value] for name, value in row.items()}
        self.warehouse.insert("alerts", columns, "")


@pytest.fixture(scope="module")
def platform(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    topics.apply(stack.kafka_url)
    own = stack.clickhouse_url.rpartition("/")[0] + f"/browser_{secrets.token_hex(4)}"
    warehouse.migrate(own)
    environment = {
        **os.environ,
        **stack.environment(),
        "SPRINGTIDE_CLICKHOUSE_URL": own,
        "SPRINGTIDE_WORKER_URLS": "",
        "SPRINGTIDE_DATA_DIR": str(tmp_path_factory.mktemp("api")),
    }
    command = [str(Path(sys.executable).with_name("springtide")), "api", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    platform = Platform(stack, json.loads(process.stdout.readline())["url"], own)
    yield platform
    platform.store.close()
    platform.warehouse.close()
    process.send_signal(signal.SIGTERM)
    process.wait(15)


def texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    """The texts of the elements, read in one go: the page may change between two reads."""
    script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText)"
    found: list[str] = browser.execute_script(script, selector)
    return found


def wait(browser: webdriver.Chrome, selector: str, *expected: str) -> None:
    def holds(_: webdriver.Chrome) -> bool:
        return texts(browser, selector)[: len(expected)] == list(expected)

    WebDriverWait(browser, 20, 0.1).until(holds, f"{selector}: {texts(browser, selector)}")


def test_a_list_changes_and_an_alert_appears(
    browser: webdriver.Chrome, platform: Platform, tmp_path: Path
) -> None:
    platform.write_list("ann", 1, "course-1", "course-2", "course-3")
    platform.click_for(240)
    browser.get("about:blank")
    browser.get_log("performance")  # what the browser's own first page asked for
    browser.get(f"{platform.url}/?tenant={TENANT}&language=en&theme=dark")

    wait(browser, ".place .title", "course-1", "course-2", "course-3")
    wait(browser, "#alert-cards .quiet", "No alert in the last 30 days.")
    wait(browser, "#pulse-text", "live")
    assert len(texts(browser, ".chart canvas")) == len(texts(browser, ".chart h2")) == 8
    wait(browser, "#panel-events:not(.is-empty) h2", "Events")
    wait(browser, "#panel-hit-rate.is-empty .empty", "waiting for events")

    platform.write_list("ann", 2, "course-3", HOSTILE, "course-1")
    wait(browser, ".place .title", "course-3", HOSTILE, "course-1")
    assert texts(browser, ".place .move") == ["▲ 2", "new", "▼ 2"]

    platform.raise_alert()
    wait(browser, "#alert-cards h3", "Oboe for beginners")
    wait(browser, "#alerts .state", "firing")
    assert texts(browser, "blockquote span") == [
        "证书上名字写错，客服不理",
        f"Refund me {HOSTILE}",
    ]
    wait(browser, "#announce", "New alert: Oboe for beginners")
    wait(browser, ".tile.alarm strong", "1")
    browser.save_screenshot(str(tmp_path / "dark.png"))

    _is_acknowledged_and_snoozed_by_keyboard(browser, platform)
    browser.save_screenshot(str(tmp_path / "marked.png"))
    _speaks_chinese_and_turns_light(browser)
    _an_alerts_link_leads_to_it(browser, platform)
    _is_read_by_keyboard(browser, platform)
    _stays_at_home(browser, platform.url)


def _is_acknowledged_and_snoozed_by_keyboard(browser: webdriver.Chrome, platform: Platform) -> None:
    wait(browser, "#alerts .mark", "Acknowledge", "Snooze 1 h", "Snooze 1 day")
    button = browser.find_element(By.CSS_SELECTOR, '[data-do="acknowledge"]')
    assert "Oboe" in button.find_element(By.XPATH, "..").get_attribute("aria-label")
    button.send_keys(Keys.ENTER)
    wait(browser, "#alerts .mark", "Snooze 1 h", "Snooze 1 day")
    assert browser.switch_to.active_element.text == "Snooze 1 h"  # the keyboard keeps its place
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    wait(browser, "#alerts .mark", "End snooze")
    wait(browser, "#alerts .state", "firing")  # snoozed, and not hidden
    (said,) = texts(browser, ".marked")
    assert said.startswith("acknowledged") and "snoozed until" in said
    marks = platform.warehouse.query("SELECT action FROM alert_marks ORDER BY marked_at")
    assert [row["action"] for row in marks] == ["acknowledge", "snooze"]
    wait(browser, "#announce", "Snooze 1 h: Oboe for beginners")


def _speaks_chinese_and_turns_light(browser: webdriver.Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, '[data-language="zh"]').click()
    wait(browser, "#alerts-title", "告警")
    wait(browser, "#panel-events h2", "事件")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.find_element(By.ID, "theme").click()
    after = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert before != after


def _an_alerts_link_leads_to_it(browser: webdriver.Chrome, platform: Platform) -> None:
    (row,) = platform.warehouse.query("SELECT DISTINCT fingerprint FROM alerts")
    browser.get("about:blank")
    browser.get(f"{platform.url}/?tenant={TENANT}&language=zh#alert={row['fingerprint']}")
    wait(browser, "#alerts .mark", "结束暂停")
    active = browser.switch_to.active_element
    assert active.tag_name == "summary"
    assert active.find_element(By.XPATH, "..").get_attribute("open")


def _is_read_by_keyboard(browser: webdriver.Chrome, platform: Platform) -> None:
    """Tab reaches every control; Enter chooses a user; arrows walk along a chart."""
    platform.write_list("ben", 1, "course-9")
    wait(browser, "#users .chip", "ann", "ben")
    browser.execute_script("document.querySelector('.skip').focus()")  # the first, as on arrival
    reached: list[str] = []
    for _ in range(30):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        reached.append(active.get_attribute("id") or active.get_attribute("class") or active.text)
        if active.text == "ben":
            active.send_keys(Keys.ENTER)
            break
    assert {"theme", "tile alarm", "plot", "follow"} <= set(reached)
    wait(browser, ".place .title", "course-9")
    plot = browser.find_element(By.CSS_SELECTOR, "#panel-events .plot")
    newest = texts(browser, "#panel-events .entry b")
    plot.send_keys(Keys.ARROW_LEFT * 60)
    WebDriverWait(browser, 5).until(lambda _: texts(browser, "#panel-events .entry b") != newest)


def _stays_at_home(browser: webdriver.Chrome, url: str) -> None:
    """No error in the console, and no request to anywhere but the API."""
    time.sleep(1.5)
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) > 10
    elsewhere = [address for address in asked if not address.startswith(url + "/")]
    assert [address for address in elsewhere if not address.startswith("chrome")] == []


def test_on_a_phone_what_fires_and_what_a_link_names_is_there_however_much_there_is(
    browser: webdriver.Chrome, platform: Platform, tmp_path: Path
) -> None:
    tenant, now = f"{TENANT}-many", datetime.now(UTC)

    def told(name: str, age: timedelta, **more: Any) -> None:
        at = {"received_at": now - age, "started_at": now - age, "raised_at": now - age}
        more = {"key": f"item:{name}", "title": name, "severity": "minor", **at, **more}
        platform.raise_alert(tenant=tenant, fingerprint=name, **more)

    told("old $& {0} {1} " + "x" * 90, timedelta(days=20), state="resolved")
    for n in range(2):
        told(f"fires {n}", timedelta(days=6, seconds=n), common=["tenant", "model:v2/zh"])
    for n in range(60):
        told(f"over {n}", timedelta(minutes=n), state="resolved")

    browser.get("about:blank")
    browser.set_window_size(500, 800)
    narrow = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    browser.get(f"{platform.url}/?tenant={tenant}&language=en&theme=light")
    wait(browser, "#alert-cards h3", "fires 0", "fires 1", "over 0")
    wait(browser, "#alerts .severity", "minor")
    assert "rose as well: All comments, Classifier, zh" in texts(browser, "#alerts .facts")
    assert texts(browser, "#alert-cards > .quiet") == ["and 30 more"]
    wait(browser, ".tile.alarm strong", "2")
    (last,) = texts(browser, ".tile.alarm .note")
    assert last.endswith((" s ago", " min ago", "now"))
    _fits(browser)
    browser.save_screenshot(str(tmp_path / "phone.png"))

    name = "old $& {0} {1} " + "x" * 90  # a link, followed in a page that is open already
    browser.execute_script("location.hash = new URLSearchParams({ alert: arguments[0] })", name)
    wait(browser, "#alert-cards h3", name, "fires 0")
    WebDriverWait(browser, 5).until(lambda b: b.switch_to.active_element.tag_name == "summary")
    _fits(browser)
    browser.execute_script("location.hash = 'alert=nobodys'")
    gone = "The alert of the link is older than 30 days, or another tenant's."
    wait(browser, "#alert-cards > .quiet", gone)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_alerts_that_are_not_known_are_not_none(
    browser: webdriver.Chrome, platform: Platform
) -> None:
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/ops/alerts*"]})
    browser.get(f"{platform.url}/?tenant={TENANT}&language=en")
    wait(browser, "#pulse-text", "no answer, trying again")
    assert texts(browser, ".tile strong")[-1] == "–"
    browser.find_element(By.CSS_SELECTOR, '[data-language="zh"]').click()
    wait(browser, "#pulse-text", "无响应，正在重试")
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    WebDriverWait(browser, 20).until(lambda b: texts(b, ".tile strong")[-1] != "–")


def _fits(browser: webdriver.Chrome) -> None:
    """Nothing sticks out to the right."""
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) <= 0
