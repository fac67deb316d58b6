"""However much is sent, little is held: measured in a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from airflow_provider_leadmagic.api.response import Call, Response
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError
from tests.hostile.measured_call import TIMEOUT
from tests.support.airflow_home import REPOSITORY
from tests.support.raw_server import endless, saying
from tests.support.responses import CHUNKED, CSV, JSON, OK, bomb, sized

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux' /proc")

MEGABYTE = 1 << 20
SPACES = b" " * 65536
GZIP = b"Content-Encoding: gzip\r\n"
LARGEST = 10 * MEGABYTE - 100
LONG_TEXT = b'{"credits": 5, "credit_freeze_message": "%b"}' % ("\N{LATIN SMALL LETTER AE}" * (LARGEST // 2)).encode()

REFUSED, BROKEN = "LeadMagicResponseError: ", "LeadMagicConnectionError: Response cut short: "

#: At most 10 MiB are read of an answer; the most that Python makes of these, when they are JSON, is some 300 MB.
#: Before its version 2.6 urllib3 unpacks a piece as a whole, hence the allowance for bombs.
CASES = [
    pytest.param("balance", endless(OK, b"X-Header: 1\r\n" * 1000), 2, REFUSED, id="headers without end"),
    pytest.param("balance", endless(OK + b"X-Endless: ", SPACES), 2, REFUSED, id="a header without end"),
    pytest.param("balance", endless(JSON + CHUNKED, b"0" * 65536), 2, REFUSED, id="a chunk size without end"),
    pytest.param(
        "balance", endless(JSON + CHUNKED + b"0\r\nX-Endless: ", SPACES), 2, REFUSED, id="a trailer without end"
    ),
    pytest.param("balance", endless(JSON + CHUNKED + b"-1\r\n", SPACES), 2, BROKEN, id="a chunk of all there is"),
    pytest.param(
        "balance", endless(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", SPACES), 2, REFUSED, id="an endless redirect"
    ),
    pytest.param("balance", endless(JSON + b"\r\n", SPACES), 20, REFUSED, id="a body without end"),
    pytest.param("balance", lambda: [sized(bomb(128), JSON + GZIP)], 40, REFUSED, id="a bomb"),
    pytest.param(
        "download",
        lambda: [sized(bomb(32, layers=2), CSV + b"Content-Encoding: gzip, gzip\r\n")],
        2,
        REFUSED,
        id="two layers",
    ),
    pytest.param(
        "balance", saying(sized(b"[%b1]" % (b"1," * (LARGEST // 2)))), 200, REFUSED, id="five million numbers"
    ),
    pytest.param("balance", saying(sized(LONG_TEXT)), 60, "5", id="a long text"),
    pytest.param(
        "download", lambda: [sized(bomb(128), CSV + GZIP)], 100, f"{128 * MEGABYTE}", id="a bomb of a download"
    ),
    pytest.param(
        "download", endless(CSV + CHUNKED + b"-1\r\n", SPACES), 2, BROKEN, id="a download of one endless chunk"
    ),
]


def test_of_numbers_that_are_too_long_to_be_any_nothing_is_kept():
    tracemalloc.start()
    for digit in b"12345678":
        answer = Response(Call("GET /"), 200, {}, "[" + chr(digit) * MEGABYTE, str)
        with pytest.raises(LeadMagicResponseError):
            answer.json(exact_numbers=True)
    del answer
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MEGABYTE


@pytest.mark.parametrize(("call", "script", "megabytes", "outcome"), CASES)
def test_a_call_ends_in_time_and_holds_no_more_than(serve, call, script, megabytes, outcome):
    command = [sys.executable, "-m", "tests.hostile.measured_call", serve(script).url, call]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["outcome"].startswith(outcome), measured
    assert measured["memory"] < megabytes * MEGABYTE, measured
    assert measured["seconds"] < TIMEOUT, measured
