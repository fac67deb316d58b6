"""A gate takes what a hostile server says for "not yet", and does not ask it more often for that."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from tests.hostile.conftest import API_KEY
from tests.support.raw_server import saying, trickling
from tests.support.responses import FOREVER, JSON, WHOLE
from tests.support.sensor_runner import MODES, run_to_end
from tests.unit.sensors.conftest import make_sensor  # noqa: F401 - a fixture

INTERVAL = 0.2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(trickling(JSON + b"\r\n", FOREVER), id="trickle"),
        pytest.param(saying(b"\x00\xff" * 500), id="garbage"),
    ],
)
def test_a_hostile_answer_is_not_yet_and_the_interval_is_kept(serve, monkeypatch, make_sensor, script, mode):  # noqa: F811
    server = serve(script, script, saying(WHOLE))
    connection = {"conn_type": "leadmagic", "password": API_KEY, "host": server.url, "extra": {"timeout": 0.15}}
    monkeypatch.setenv("AIRFLOW_CONN_HOSTILE", json.dumps(connection))

    sensor = make_sensor(leadmagic_conn_id="hostile", minimum_credits=5, poke_interval=INTERVAL, **MODES[mode])
    outcome = run_to_end(sensor)

    assert (outcome.state, outcome.error) == ("success", None), outcome.message
    assert len(server.asked_at) == 3
    assert all(later - earlier >= INTERVAL for earlier, later in pairwise(server.asked_at))
