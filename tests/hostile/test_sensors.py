"""Tests that a sensor keeps polling at its interval while a server sends invalid responses."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from tests.hostile.certificates import self_signed, speaking_tls
from tests.hostile.conftest import API_KEY
from tests.support.raw_server import send, trickle
from tests.support.responses import BALANCE_RESPONSE, ENDLESS_SPACES, JSON
from tests.support.sensor_runner import MODES, run_to_end
from tests.unit.sensors.conftest import make_sensor  # noqa: F401 - a fixture

INTERVAL = 0.2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(trickle(JSON + b"\r\n", ENDLESS_SPACES), id="trickle"),
        pytest.param(send(b"\x00\xff" * 500), id="garbage"),
    ],
)
def test_sensor_keeps_its_interval_after_invalid_responses(serve, monkeypatch, make_sensor, script, mode):  # noqa: F811
    server = serve(script, script, send(BALANCE_RESPONSE))
    connection = {"conn_type": "leadmagic", "password": API_KEY, "host": server.url, "extra": {"timeout": 0.15}}
    monkeypatch.setenv("AIRFLOW_CONN_HOSTILE", json.dumps(connection))

    sensor = make_sensor(leadmagic_conn_id="hostile", minimum_credits=5, poke_interval=INTERVAL, **MODES[mode])
    outcome = run_to_end(sensor)

    assert (outcome.state, outcome.error) == ("success", None), outcome.message
    assert len(server.connected_at) == 3
    assert all(later - earlier >= INTERVAL for earlier, later in pairwise(server.connected_at))


@pytest.mark.parametrize("flag", [{}, {"soft_fail": True}], ids=["plain", "soft_fail"])
@pytest.mark.parametrize("mode", MODES)
def test_untrusted_certificate_ends_a_sensor_at_once(serve, monkeypatch, make_sensor, tmp_path, mode, flag):  # noqa: F811
    server = serve(send(BALANCE_RESPONSE), tls=speaking_tls(self_signed(tmp_path)))
    connection = {"conn_type": "leadmagic", "password": API_KEY, "host": f"https://{server.address}"}
    monkeypatch.setenv("AIRFLOW_CONN_HOSTILE", json.dumps(connection))

    outcome = run_to_end(make_sensor(leadmagic_conn_id="hostile", minimum_credits=5, **MODES[mode], **flag))

    assert (outcome.state, outcome.error) == ("failed", "LeadMagicConfigurationError"), outcome.message
    assert "TLS certificate not trusted: check the host of connection 'hostile'" in outcome.message
    assert (len(server.connected_at), server.requests) == (1, [])
