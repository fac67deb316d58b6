"""What the page sends to the browser and to the log, whatever LeadMagic responds, under a running API server."""

from __future__ import annotations

import json
from contextlib import ExitStack
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
import requests
from sqlalchemy import text

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES, free_port
from tests.support.airflow_home import HOME
from tests.support.api_server import ApiServer, encodings_of, users_in
from tests.support.page_rows import PageRows

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="the page needs Airflow 3.1")]

#: With characters that URLs and JSON encode.
KEY = 'canary/page+key"that=must~never&leak'
WRONG_KEY = "wrong/canary+key&of=the~page"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><style>*{}</style>"
ACCOUNTS = ("good", "down", "rejected", "frozen", "echo", "hostile")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
#: Path, user, method and the expected status.
RESPONSES = [
    ("", "admin", "GET", 200),
    ("static/page.css", "viewer", "GET", 200),
    ("static/page.js", "viewer", "GET", 200),
    ("", None, "GET", 401),
    ("", "viewer", "GET", 403),
    ("?conn_id=missing", "admin", "GET", 403),
    ("missing", None, "GET", 401),
    ("missing", "admin", "GET", 404),
    ("", "admin", "POST", 405),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    settings = {
        # Airflow's masking would hide a key that the provider writes to a log.
        "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    }
    with ExitStack() as stack:
        accounts = {name: stack.enter_context(Sandbox(credits=1000, api_key=KEY)) for name in ACCOUNTS}
        accounts["frozen"].freeze("Unpaid invoice")
        accounts["hostile"].freeze(MARKUP)
        accounts["hostile"].fail_next("/v1/analytics/*", status=403, body=f'{{"detail": {json.dumps(MARKUP)}}}')
        echo = {"errors": [{"title": f"Key {KEY} is invalid", "detail": KEY, "action": f"Do not send {KEY}."}]}
        accounts["echo"].fail_next("*", status=403, body=json.dumps(echo), content_type="application/json", times=None)
        running = stack.enter_context(ApiServer(HOME / "page-secrets", users_in(HOME) | settings))
        rows = PageRows(running.database)
        for name, account in accounts.items():
            connection = json.loads(account.connection_json)
            connection["password"] = WRONG_KEY if name == "rejected" else KEY
            if name == "down":
                connection["host"] = f"http://127.0.0.1:{free_port()}"
            rows.add_connection(name, json.dumps(connection))
        rows.add_deferred(MARKUP, "hostile", "5000")
        rows.add_xcoms("leads", "broken", '{"__classname__": "os.system", "__version__": 1, "__data__": "true"}')
        rows.add_xcoms("leads", "no_record", [KEY])
        yield running


@pytest.fixture(scope="module")
def pages(server: ApiServer) -> dict[str, requests.Response]:
    """Return the page of each account."""
    return {name: server.visit(f"?conn_id={name}", "admin") for name in ACCOUNTS}


def all_of(response: requests.Response) -> str:
    return f"{response.text}\n{response.headers}\n{response.cookies.get_dict()}"


class Markup(HTMLParser):
    """Collects what a Content-Security-Policy forbids, and addresses of other hosts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forbidden: list[str] = []
        self.addresses: list[str] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.forbidden += [f"{tag} {name}" for name, _ in attrs if name == "style" or name.startswith("on")]
        self.forbidden += [tag for _ in (tag,) if tag in ("style", "img", "iframe", "object", "base")]
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")]

    def handle_data(self, data: str) -> None:
        if self._open == "script" and data.strip():
            self.forbidden.append(f"script {data}")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("good", "1,000"),
        ("down", "unknown"),
        ("rejected", "API key rejected"),
        ("frozen", "Unpaid invoice"),
        ("echo", "unknown"),
        ("hostile", "LeadMagic has frozen credits"),
    ],
)
def test_every_state_of_an_account_is_shown_without_the_key(
    pages: dict[str, requests.Response], name: str, shown: str
) -> None:
    assert pages[name].status_code == 200
    assert shown in pages[name].text
    for secret in (KEY, WRONG_KEY):
        assert [form for form in encodings_of(secret) if form in all_of(pages[name])] == []


def test_the_log_of_the_api_server_has_no_key(server: ApiServer, pages: dict[str, requests.Response]) -> None:
    log = server.log()

    assert "/leadmagic/" in log
    assert "HTTPStatus" not in log  # the status of a request is logged as a number
    for secret in (KEY, WRONG_KEY):
        assert [form for form in encodings_of(secret) if form in log] == []


def test_text_from_leadmagic_and_from_dags_is_escaped(pages: dict[str, requests.Response]) -> None:
    page = pages["hostile"].text

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page


@pytest.mark.parametrize("name", ACCOUNTS)
def test_no_page_has_inline_scripts_or_styles_or_another_host(pages: dict[str, requests.Response], name: str) -> None:
    markup = Markup(pages[name].text)

    assert markup.forbidden == []
    assert set(markup.addresses) == {"static/page.css", "static/page.js", "./"}


@pytest.mark.parametrize(("path", "user", "method", "status"), RESPONSES)
def test_every_response_has_the_security_headers(
    server: ApiServer, path: str, user: str | None, method: str, status: int
) -> None:
    response = server.visit(path, user, method)

    assert response.status_code == status
    assert_secure(response)


def test_a_failure_of_the_database_shows_nothing(server: ApiServer) -> None:
    rows = PageRows(server.database)
    with rows.session() as session:
        session.execute(text("ALTER TABLE trigger RENAME TO renamed"))
    try:
        response = server.visit("", "admin")
    finally:
        with rows.session() as session:
            session.execute(text("ALTER TABLE renamed RENAME TO trigger"))

    assert response.status_code == 500
    assert "see the API server" in response.text
    assert "SELECT" not in response.text
    assert_secure(response)
    assert server.visit("", "admin").status_code == 200


def assert_secure(response: requests.Response) -> None:
    headers = response.headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    if headers["Content-Type"].startswith("text/html"):
        assert Markup(response.text).forbidden == []
