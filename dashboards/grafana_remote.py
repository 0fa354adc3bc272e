"""Grafana over its HTTP API, by grafana-client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dashboards.grafana_boards import FOLDER_UID
from dashboards.grafana_resources import Kind, Resource, ours
from infra.settings import Settings, UserError, host_and_port

NOT_FOUND = 404
TIMEOUT_SECONDS = 10.0
MESSAGE = "springtide dashboards push"


class Remote:
    """Reads and writes resources; its errors are one line that says what to do.

    Args:
        settings: `grafana_url` and `grafana_token`.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.grafana_url
        host_and_port(self._url, 3000)
        try:
            from grafana_client import GrafanaApi
        except ImportError:
            raise UserError(
                "this needs grafana-client: pip install 'springtide[grafana]'"
            ) from None
        token = settings.grafana_token.get_secret_value()
        if not token:
            raise UserError("set SPRINGTIDE_GRAFANA_TOKEN to the token of a service account")
        self._api = GrafanaApi.from_url(self._url, credential=token, timeout=TIMEOUT_SECONDS)

    def read(self, resource: Resource) -> dict[str, Any] | None:
        """As Grafana has it, reduced to what is ours; None where it has none.

        Raises:
            UserError: Grafana does not answer or refuses.
        """
        api, uid = self._api, resource.uid
        if resource.kind == "contact point":  # there is no asking for one by its uid
            points = self._ask(lambda: api.alertingprovisioning.get_contactpoints(resource.title))
            found = next((each for each in points or [] if each.get("uid") == uid), None)
        else:
            ask: dict[str, Callable[[], Any]] = {
                "folder": lambda: api.folder.get_folder(uid),
                "data source": lambda: api.datasource.get_datasource_by_uid(uid),
                "dashboard": lambda: api.dashboard.get_dashboard(uid)["dashboard"],
                "alert rule": lambda: api.alertingprovisioning.get_alertrule(uid),
            }
            found = self._ask(ask[resource.kind])
        return None if found is None else ours(resource.kind, found)

    def write(self, resource: Resource, exists: bool) -> None:
        """Make it, or put it in place of what is there.

        Raises:
            UserError: Grafana does not answer or refuses.
        """
        if self._ask(lambda: self._write(resource, exists)) is None:
            raise UserError(f"Grafana at {self._url} does not know this kind: {resource.kind}")

    def _write(self, resource: Resource, exists: bool) -> Any:
        api, uid, title, body = self._api, resource.uid, resource.title, resource.stamped()
        rules = api.alertingprovisioning
        if resource.secrets:
            body["secureJsonData"] = resource.secrets
        save = {"dashboard": body, "folderUid": FOLDER_UID, "message": MESSAGE}
        make: dict[Kind, Callable[[], Any]] = {
            "folder": lambda: api.folder.create_folder(title, uid=uid),
            "data source": lambda: api.datasource.create_datasource(body),
            "dashboard": lambda: api.dashboard.update_dashboard({**save, "overwrite": False}),
            "contact point": lambda: rules.create_contactpoint(body),
            "alert rule": lambda: rules.create_alertrule(body),
        }
        replace: dict[Kind, Callable[[], Any]] = {
            "folder": lambda: api.folder.update_folder(uid, title=title, overwrite=True),
            "data source": lambda: api.datasource.update_datasource_by_uid(uid, body),
            "dashboard": lambda: api.dashboard.update_dashboard({**save, "overwrite": True}),
            "contact point": lambda: rules.update_contactpoint(uid, body),
            "alert rule": lambda: rules.update_alertrule(uid, body),
        }
        return (replace if exists else make)[resource.kind]()

    def _ask(self, ask: Callable[[], Any]) -> Any:
        """The answer; None where Grafana has no such thing."""
        from grafana_client.client import GrafanaException
        from niquests.exceptions import RequestException

        try:
            return ask()
        except GrafanaException as error:
            status = error.status_code
            if status == NOT_FOUND:
                return None
            if status in (401, 403):
                raise UserError(
                    f"Grafana at {self._url} refuses the token ({status}): give its service "
                    "account the role Editor, or Admin where data sources are to be made"
                ) from None
            raise UserError(f"Grafana at {self._url}: {error.message}") from None
        except RequestException as error:
            raise UserError(
                f"Grafana at {self._url} does not answer ({type(error).__name__}): "
                "is SPRINGTIDE_GRAFANA_URL right?"
            ) from None
