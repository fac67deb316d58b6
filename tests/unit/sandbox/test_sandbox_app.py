from __future__ import annotations

import logging
import re
import socket
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from airflow_provider_leadmagic.sandbox.app import create_app
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from airflow_provider_leadmagic.sandbox.server import SandboxServer
from airflow_provider_leadmagic.sandbox.state import SandboxState
from dev.local_airflow import wait_until

PROBLEM = "application/problem+json"


@pytest.mark.parametrize("name", ["X-API-Key", "x-api-key", "X-Api-KEY"])
def test_the_name_of_the_api_key_header_is_case_insensitive(leadmagic_sandbox, call, name):
    assert call("GET", "/v1/credits", headers={name: leadmagic_sandbox.api_key}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/credits",
        "/v1/people/email-finder",
        "/v1/analytics/usage",
        "/bulk/jobs",
        "/no/such/path",
        "/docs",
        "/_sandbox",
    ],
)
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_authentication"),
        ({"X-API-Key": ""}, "missing_authentication"),
        ({"Authorization": "Bearer sandbox-key-for-tests"}, "missing_authentication"),
        ({"X-API-Key": "wrong"}, "invalid_api_key"),
        ({"X-API-Key": "schlüssel".encode("latin-1")}, "invalid_api_key"),
    ],
)
def test_without_a_valid_api_key_every_path_returns_401_before_routing(call, path, headers, code):
    response = call("POST", path, headers=headers)
    assert response.status_code == 401
    assert response.headers["Content-Type"] == PROBLEM
    assert response.json()["errors"][0]["code"] == code
    assert "X-Credits-Remaining" not in response.headers


def test_a_sandbox_accepts_only_its_own_api_key(session):
    with Sandbox(api_key="another-key") as sandbox:
        statuses = [
            session.get(f"{sandbox.url}/v1/credits", headers={"X-API-Key": key}, timeout=2).status_code
            for key in ("another-key", "sandbox-key-for-tests")
        ]
    assert statuses == [200, 401]


def test_an_unknown_path_returns_404(call):
    response = call("GET", "/v1/credits/")
    assert (response.status_code, response.headers["Content-Type"]) == (404, PROBLEM)
    assert response.json()["errors"][0]["code"] == "resource_not_found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/v1/credits", "GET"), ("GET", "/v1/people/email-finder", "POST"), ("GET", "/v1/credits/refresh", "POST")],
)
def test_a_wrong_method_returns_405_with_the_allowed_method(call, method, path, allowed):
    response = call(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)
    assert response.headers["Content-Type"] == PROBLEM


def test_an_error_body_has_the_fields_of_the_contract(call):
    body = call("GET", "/nowhere").json()
    assert body["success"] is False
    assert body["errors"][0].keys() >= {"type", "title", "status", "code", "docs"}
    assert body["errors"][0]["type"] == "https://api.leadmagic.io/errors/resource_not_found"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["meta"]["timestamp"])


def test_each_response_has_its_own_request_id_in_header_and_error_body(call):
    first, second = call("GET", "/nowhere"), call("GET", "/nowhere")
    for response in (first, second):
        assert UUID(response.headers["X-Request-Id"]) == UUID(response.json()["meta"]["request_id"])
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]


def test_an_unhandled_exception_returns_500_with_the_usual_body_and_is_logged(session, caplog):
    def broken() -> None:
        raise RuntimeError("a bug")

    app = create_app(SandboxState())
    app.add_api_route("/broken", broken)
    server = SandboxServer(app)
    server.start()
    url = f"http://127.0.0.1:{server.port}/broken"
    response = session.get(url, headers={"X-API-Key": "sandbox-key-for-tests"}, timeout=2)
    server.stop()
    assert (response.status_code, response.headers["Content-Type"]) == (500, PROBLEM)
    assert response.json()["errors"][0]["code"] == "INTERNAL_ERROR"
    assert response.headers["X-Credits-Remaining"] == "1000.00"
    assert "a bug" in caplog.text


def test_a_client_that_disconnects_before_it_has_sent_the_body_is_not_reported_as_a_bug(caplog):
    with Sandbox() as account:
        address = urlsplit(account.url)
        head = f"POST /bulk/submit HTTP/1.1\r\nHost: {address.netloc}\r\nX-API-Key: {account.api_key}\r\n"
        with socket.create_connection((address.hostname, address.port), timeout=5) as client:
            client.sendall(f"{head}Content-Length: 2\r\n\r\n{{".encode())
            wait_until(lambda: bool(account.requests), 5, "the request")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
