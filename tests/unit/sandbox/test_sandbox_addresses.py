"""Tests of where a sandbox listens, and of the connection to it."""

from __future__ import annotations

import json
import socket

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.unit.sandbox.conftest import needs_ipv6


@pytest.fixture
def has_address(monkeypatch):
    """Return a function that gives this machine an address in its network, or no network if it is None."""

    class Probe(socket.socket):
        def connect(self, _):
            if self.address is None:
                raise OSError("Network is unreachable")

        def getsockname(self):
            return self.address, 9

    def has_address(address):
        Probe.address = address
        monkeypatch.setattr(socket, "socket", Probe)

    return has_address


@pytest.mark.parametrize(
    ("options", "address", "host"),
    [
        pytest.param({}, "172.17.0.2", "127.0.0.1", id="default"),
        pytest.param({"host": "localhost"}, "172.17.0.2", "localhost", id="localhost"),
        pytest.param({"host": "0.0.0.0"}, "172.17.0.2", "172.17.0.2", id="all, private address"),
        pytest.param({"host": ""}, "172.17.0.2", "172.17.0.2", id="empty, private address"),
        pytest.param({"host": "::"}, "172.17.0.2", "172.17.0.2", id="all of IPv6, private address"),
        pytest.param({"host": "0.0.0.0"}, "8.8.8.8", "127.0.0.1", id="all, public address"),
        pytest.param({"host": "0.0.0.0"}, None, "127.0.0.1", id="all, no network"),
        pytest.param({"host": "0.0.0.0", "allow_hosts": ["Box", "b"]}, "172.17.0.2", "box", id="all, with names"),
        pytest.param({"allow_hosts": ["box"]}, "172.17.0.2", "127.0.0.1", id="loopback, with a name"),
        pytest.param({"host": "172.17.0.2"}, None, "172.17.0.2", id="one address"),
        pytest.param({"host": "::1"}, None, "[::1]", id="IPv6 loopback"),
        pytest.param({"host": "fd00::7"}, None, "[fd00::7]", id="IPv6 address"),
    ],
)
def test_the_connection_has_a_host_that_clients_reach_and_the_hook_accepts(
    has_address, connect, options, address, host
):
    has_address(address)
    sandbox = Sandbox(port=4010, **options)
    connection = json.loads(sandbox.connection_json)
    assert connection["host"] == sandbox.url == f"http://{host}:4010"
    is_local = host in ("127.0.0.1", "localhost", "[::1]")
    assert connection.get("extra") == (None if is_local else {"allow_http": True})
    assert connect(sandbox.connection_json).get_conn().base_url == sandbox.url


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", pytest.param("::1", marks=needs_ipv6)])
def test_the_hook_reads_the_balance_through_the_connection(connect, host):
    with Sandbox(5, host=host) as sandbox:
        assert connect(sandbox.connection_json).get_credits().credits == 5


@needs_ipv6
@pytest.mark.parametrize("client", ["127.0.0.1", "[::1]"])
def test_all_addresses_of_ipv6_include_those_of_ipv4(session, client):
    with Sandbox(host="::") as sandbox:
        port = sandbox.url.rpartition(":")[2]
        assert session.get(f"http://{client}:{port}/_sandbox/state", timeout=5).status_code == 200


@needs_ipv6
def test_a_restarted_sandbox_keeps_its_ipv6_port(session):
    sandbox = Sandbox(host="::1").start()
    url = sandbox.url
    sandbox.stop()
    with sandbox:
        assert sandbox.url == url
        assert session.get(f"{url}/_sandbox/state", timeout=5).status_code == 200
