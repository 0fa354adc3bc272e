"""Pseudonyms: stable under a key, different without it, and the key is kept to ourselves."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.pseudonym import Pseudonymiser
from infra.settings import UserError


def test_a_user_keeps_his_pseudonym_over_restarts(tmp_path: Path) -> None:
    first = Pseudonymiser.from_settings(None, tmp_path / "new")
    again = Pseudonymiser.from_settings(None, tmp_path / "new")
    assert first.user_key("default", "用户") == again.user_key("default", "用户")
    assert len(first.user_key("default", "u")) == 8 + 1 + 32
    assert first.key_id == again.key_id and len(first.key_id) == 8


def test_users_tenants_and_keys_are_kept_apart() -> None:
    one, two = Pseudonymiser(b"1" * 32), Pseudonymiser(b"2" * 32)
    pseudonyms = {
        one.user_key("a", "b"),
        one.user_key("b", "a"),
        one.user_key("a", "bb"),
        one.user_key("ab", "b"),
        two.user_key("a", "b"),
    }
    assert len(pseudonyms) == 5
    assert one.key_id != two.key_id


def test_rows_of_before_a_rotation_are_found_by_the_former_key(tmp_path: Path) -> None:
    before = Pseudonymiser.from_settings(None, tmp_path).user_key("t", "u")
    path = tmp_path / "pseudonym.key"
    path.write_text("ab" * 32 + "\n" + path.read_text())
    after = Pseudonymiser.from_settings(None, tmp_path)
    assert after.user_key("t", "u") != before and after.user_key("t", "u").startswith(after.key_id)
    assert after.user_keys("t", "u")[0] == after.user_key("t", "u")
    assert {before, before.partition("-")[2]} < set(after.user_keys("t", "u"))


def test_the_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    Pseudonymiser.from_settings(None, tmp_path)
    files = list(tmp_path.iterdir())
    assert [file.name for file in files] == ["pseudonym.key"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600


def test_workers_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: Pseudonymiser.from_settings(None, tmp_path), range(64)))
    assert len({each.key_id for each in made}) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "zz", "00" * 15, "00" * 65, "gleiß"])
def test_an_unusable_key_file_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(UserError, match="key") as caught:
        Pseudonymiser.from_settings(path, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_key_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="openssl rand -hex 32"):
        Pseudonymiser.from_settings(tmp_path / "absent", tmp_path)
    assert list(tmp_path.iterdir()) == []
