"""With tokens a browser asks for one, and the page then works without asking again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from infra import warehouse
from infra.serving import ListWrite, RedisTopKStore, StoredList
from streams import topics

TOKEN = "of-the-page-" + "t" * 12
TENANT = "behind-tokens"


@pytest.fixture(scope="module")
def closed_url(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("closed")
    topics.apply(stack.kafka_url)
    warehouse.migrate(stack.clickhouse_url)
    (folder / "tokens").write_text(f"{TOKEN} {TENANT} read\n")
    environment = {
        **os.environ,
        **stack.environment(),
        "SPRINGTIDE_DATA_DIR": str(folder),
        "SPRINGTIDE_API_TOKENS_FILE": str(folder / "tokens"),
    }
    command = [str(Path(sys.executable).with_name("springtide")), "api", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGTERM)
    process.wait(15)


def test_the_page_shows_a_list_to_whoever_gives_the_token(
    browser: webdriver.Chrome, stack: Any, closed_url: str
) -> None:
    store = RedisTopKStore.connect(stack.redis_url)
    made = StoredList(1, (1, 1), 1_772_366_400_000, ["oboe", "tuba"], [0.0, -0.4], "blend", 0)
    store.write_many([ListWrite(TENANT, "ann", made)], 600)
    store.note_recent([(TENANT, "ann")])
    store.close()
    browser.get(closed_url)
    assert "ann" not in browser.page_source  # nothing is shown to who has not given one
    # As the dialog does it; from then on the browser keeps it for this origin.
    browser.get(closed_url.replace("http://", f"http://anybody:{TOKEN}@"))
    browser.get(closed_url)
    WebDriverWait(browser, 30, 0.2).until(
        lambda _: "oboe" in browser.execute_script("return document.body.innerText"),
        "the list never appeared",
    )
    hidden = browser.execute_script("return document.getElementById('token').hidden")
    assert hidden is True  # the page's own question is not needed
