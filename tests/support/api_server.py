"""The API server of an Airflow, users who log in to it, and their requests to the page."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import requests

from dev.local_airflow import LocalAirflow
from tests.support.airflow_home import DAGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Users of SimpleAuthManager; the name of a user is also the role and the password.
ROLES = ("viewer", "user", "op", "admin")


class ApiServer(LocalAirflow):
    """
    The API server alone: no task runs, and nothing else writes to the database.

    :param home: Folder for ``AIRFLOW_HOME``; created if missing.
    :param settings: Additional environment variables.
    """

    health = ("api/v2/monitor/health",)

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(home, DAGS, _fernet_key() | dict(settings or {}))
        self._tokens: dict[str, str] = {}

    def _components(self) -> dict[str, list[str]]:
        return {"api-server": [*super()._components()["api-server"], "--apps", "core"]}  # starts in half the time

    def token_of(self, user: str) -> str:
        """Log in, once for each user, and return the token."""
        if user not in self._tokens:
            credentials = {"username": user, "password": user}
            response = requests.post(f"{self.url}/auth/token", json=credentials, timeout=60)
            response.raise_for_status()
            self._tokens[user] = response.json()["access_token"]
        return self._tokens[user]

    def visit(self, path: str = "", user: str | None = None, method: str = "GET") -> requests.Response:
        """
        Request a path below the page, and do not follow redirects.

        :param path: Path and query, such as ``static/page.css``.
        :param user: The user who is logged in; None for an anonymous request.
        """
        return self.request(f"/leadmagic/{path}", user, method)

    def request(self, path: str, user: str | None = None, method: str = "GET") -> requests.Response:
        """Request any path of the API server with the cookie of a user, as a browser does."""
        cookies = {"_token": self.token_of(user)} if user else {}
        return requests.request(method, f"{self.url}{path}", cookies=cookies, allow_redirects=False, timeout=120)

    def log(self) -> str:
        """Return what the API server logged."""
        return "\n".join(text for _, text in self.logs())


def users_in(folder: Path) -> dict[str, str]:
    """Return settings for SimpleAuthManager with a user of each role; the passwords are in a file in the folder."""
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({role: role for role in ROLES}))
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }


def encodings_of(secret: str) -> set[str]:
    """
    Return a secret and its usual encodings.

    It has three forms in the base64 of a longer text, because base64 encodes three bytes at a time and the secret can
    start at the first, second or third of them.
    """
    encoded = {
        base64.b64encode(b" " * offset + secret.encode()).decode()[4 if offset else 0 : -4] for offset in range(3)
    }
    return {secret, quote(secret, safe=""), secret.encode().hex(), json.dumps(secret)[1:-1], *encoded}


def _fernet_key() -> dict[str, str]:
    # Tests write rows with encrypted columns, such as the arguments of triggers.
    from airflow.configuration import conf

    return {"AIRFLOW__CORE__FERNET_KEY": conf.get("core", "fernet_key")}
