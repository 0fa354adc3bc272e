"""One tree of settings, read once at start and passed down; nothing else reads the environment."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

NEAR = 0.85  # of two names that mean the same
FETCHED = "kafka-home"  # below the data directory; `springtide kafka fetch` fills it


class UserError(Exception):
    """Something the user can mend. The CLI prints the message in one line and exits with 2."""


class SecretFiles(PydanticBaseSettingsSource):
    """A secret from the file that `SPRINGTIDE_<NAME>_FILE` names, as clusters mount them."""

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            path = os.environ.get(f"SPRINGTIDE_{name.upper()}_FILE", "")
            if path and field.annotation is SecretStr:
                found[name] = _secret(name, Path(path))
        return found

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Not asked: `__call__` answers for all fields."""
        del field
        return None, field_name, False


def _secret(name: str, path: Path) -> str:
    variable = f"SPRINGTIDE_{name.upper()}"
    if os.environ.get(variable):
        raise UserError(f"{variable} and {variable}_FILE are both set: unset one")
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"{variable}_FILE={path}: {reason}") from None
    if not secret:
        raise UserError(f"{variable}_FILE={path}: the file is empty")
    return secret


class Settings(BaseSettings):
    """All settings, `SPRINGTIDE_<NAME>` in the environment; a command's flags override them.

    A secret may come from a file: see `SecretFiles`.
    """

    model_config = SettingsConfigDict(
        env_prefix="SPRINGTIDE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    kafka_url: SecretStr = Field(
        SecretStr("kafka://127.0.0.1:9092"),
        description="Kafka, kafka[s]://[user:password@]host:port,…[?ca=FILE&mechanism=…]",
    )
    kafka_fetch_wait_ms: int = Field(
        10, ge=1, le=500, description="how long Kafka may hold a fetch that finds nothing"
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey, redis[s][+sentinel]://[user:password@]host:port/0[?ca=FILE]",
    )
    clickhouse_url: SecretStr = Field(
        SecretStr("clickhouse://127.0.0.1:9000/default"),
        description="ClickHouse's native protocol, clickhouse[s]://…/database[?ca=FILE]",
    )
    classifier_url: str = Field(
        "http://127.0.0.1:8081", description="the classifier server (TEI-shaped /predict)"
    )
    classifier_token: SecretStr = Field(
        SecretStr(""), description="what the worker shows a classifier that asks for a token"
    )
    score_within_seconds: float = Field(
        2.0, ge=0, description="a live comment that waited longer, where many do, is scored by the "
        "model's n-gram expert alone, and marked; a tenth of it where that goes on; 0: it waits",
    )  # fmt: skip
    worker_urls: str = Field(
        "", description="workers whose /metrics the ops page shows, comma-separated"
    )
    checkpoint_url: str = Field("", description="fsspec URL; default: DATA_DIR/checkpoints")
    factors_url: str = Field(
        "", description="fsspec URL of `train factors`' --out, watched by the workers; empty: none"
    )
    alertmanager_url: str = Field("", description="Alertmanager (v2 API); empty: none")
    webhook_url: str = Field("", description="receives alerts as Alertmanager's webhook JSON")
    ops_url: str = Field(
        "", description="the ops page as people reach it, for links in alerts; empty: their path"
    )
    grafana_url: str = Field("http://127.0.0.1:3000", description="Grafana, for `dashboards`")
    grafana_token: SecretStr = Field(
        SecretStr(""), description="its service account's token (role Editor; Admin for sources)"
    )
    prometheus_url: str = Field(
        "http://127.0.0.1:9090", description="Prometheus, as Grafana reaches it"
    )
    data_dir: Path = Field(Path("springtide-data"), description="everything kept on this machine")
    api_tokens_file: Path | None = Field(
        None, description="one a line: token tenant scope[,scope]; without it loopback only"
    )
    api_requests_per_second: float = Field(
        1000.0, ge=0, description="of a token to an API process; more are answered 429; 0: no limit"
    )
    model: Path | None = Field(None, description="classifier artifact in place of the packaged one")
    trunk: str = Field(
        "", description="where the base model of such an artifact is, a folder or a hub's name, if "
        "not where `train --base-model` found it; the packaged trunk needs no telling",
    )  # fmt: skip
    text_ranker: Path | None = Field(
        None,
        description="text ranker, or a folder of versions, that the classifier embeds items by",
    )
    pseudonym_key_file: Path | None = Field(
        None, description="key of the user pseudonyms, one for all processes; default: in DATA_DIR"
    )
    false_alarms_per_day: float = Field(1.0, gt=0, le=1000, description="budget of the monitor")
    hold_items: bool = Field(
        False, description="true: an item in a severe incident is in no list until it ends"
    )
    max_users: int = Field(1_000_000, gt=0, description="users a worker keeps in memory")
    max_items: int = Field(100_000, gt=0, description="items a worker keeps in memory")
    explore_every: int = Field(0, ge=0, description="one slot in N explores; 0: off")
    explore_age_days: float = Field(7.0, gt=0, description="after it an item is new no more")
    explore_views: int = Field(120, gt=0, description="of a new item, that exploring brings it to")
    checkpoint_seconds: float = Field(
        2.0,
        gt=0,
        le=600,
        description="between two checkpoints; behind a backlog up to five times that",
    )
    max_age_seconds: float = Field(
        0.0, ge=0, description="older events go to the dead letters; 0: all are welcome"
    )
    list_size: int = Field(50, gt=0, le=500, description="items in a stored list")
    list_ttl_days: float = Field(
        30.0, gt=0, le=36_500, description="a list without an event expires"
    )
    kafka_home: Path | None = Field(
        None,
        # KAFKA_HOME is what Kafka's own scripts read; ours is meant for us.
        validation_alias=AliasChoices("SPRINGTIDE_KAFKA_HOME", "kafka_home"),
        description="a Kafka folder with libs/*.jar; KAFKA_HOME is understood too",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, the environment, files; no .env."""
        return init_settings, env_settings, SecretFiles(settings_cls)

    @property
    def checkpoints(self) -> str:
        """fsspec URL of the checkpoint folder."""
        return self.checkpoint_url or str((self.data_dir / "checkpoints").absolute())

    @property
    def kafka_folder(self) -> Path | None:
        """The Kafka to start: what is named, or what `springtide kafka fetch` has filled."""
        fetched = self.data_dir / FETCHED
        return self.kafka_home or (fetched if any(fetched.glob("libs/kafka_*.jar")) else None)


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment; keyword values that are not None win over it.

    Raises:
        UserError: a value cannot be used; names the variable and says what is wrong with it.
    """
    _tell_of_misspelt()
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "SPRINGTIDE_" + str(first["loc"][0]).upper()
        raise UserError(f"{name}: {first['msg']}{_got(first)}") from None


@cache
def _tell_of_misspelt() -> None:
    """A variable that is nearly a setting would go unnoticed; others may be somebody else's."""
    known = {name.upper() for name in Settings.model_fields}
    ours = [name.partition("_")[2] for name in os.environ if name.startswith("SPRINGTIDE_")]
    for name in ours:
        near = get_close_matches(name.removesuffix("_FILE"), known, 1, NEAR)
        if near and name not in known and near[0] != name.removesuffix("_FILE"):
            told = f"SPRINGTIDE_{name} is no setting; did you mean SPRINGTIDE_{near[0]}?"
            print(f"springtide: {told}", file=sys.stderr)


def _got(error: Any) -> str:
    """What was given, unless it may be a secret."""
    field = Settings.model_fields.get(str(error["loc"][0]))
    secret = field is not None and field.annotation is SecretStr
    return "" if secret else f" (got {error['input']!r})"


def host_and_port(url: str, default_port: int) -> tuple[str, int]:
    """Host and port of a URL.

    Raises:
        UserError: the URL names no host or no usable port.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default_port
    except ValueError as error:
        raise UserError(f"{_shown(url)}: not a usable URL ({error})") from None
    if not host:
        raise UserError(f"{_shown(url)}: not a usable URL (no host)")
    return host, port


def _shown(url: str) -> str:
    """A URL without what may be a password."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if found else "the URL"
