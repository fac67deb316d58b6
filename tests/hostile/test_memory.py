"""Tests of peak memory for large responses, each measured in a separate process."""

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
from tests.support.raw_server import send, send_endlessly
from tests.support.responses import CHUNKED, CSV, JSON, OK, compression_bomb, sized

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="memory and time are measured with /proc of Linux"
)

MEGABYTE = 1 << 20
SPACES = b" " * 65536
GZIP = b"Content-Encoding: gzip\r\n"
MAX_BODY = 10 * MEGABYTE - 100
LONG_TEXT = b'{"credits": 5, "credit_freeze_message": "%b"}' % ("\N{LATIN SMALL LETTER AE}" * (MAX_BODY // 2)).encode()

REJECTED, BROKEN = "LeadMagicResponseError: ", "LeadMagicConnectionError: Response cut short: "
TOO_LARGE = "ResponseTooLargeError: "

#: The number in each case is the limit of additional memory in MB. The client accepts bodies of up to 10 MiB, which can
#: take about 300 MB as parsed JSON. The memory limits for compression bombs are higher because urllib3 before 2.6
#: decompresses each chunk as a whole.
CASES = [
    pytest.param("balance", send_endlessly(OK, b"X-Header: 1\r\n" * 1000), 2, REJECTED, id="headers without end"),
    pytest.param("balance", send_endlessly(OK + b"X-Endless: ", SPACES), 2, REJECTED, id="a header without end"),
    pytest.param("balance", send_endlessly(JSON + CHUNKED, b"0" * 65536), 2, REJECTED, id="a chunk size without end"),
    pytest.param(
        "balance", send_endlessly(JSON + CHUNKED + b"0\r\nX-Endless: ", SPACES), 2, REJECTED, id="a trailer without end"
    ),
    pytest.param(
        "balance",
        send_endlessly(JSON + CHUNKED + b"-1\r\n", SPACES),
        2,
        BROKEN,
        id="a chunk size of -1 and endless data",
    ),
    pytest.param(
        "balance",
        send_endlessly(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", SPACES),
        2,
        REJECTED,
        id="a redirect with a body without end",
    ),
    pytest.param("balance", send_endlessly(JSON + b"\r\n", SPACES), 20, TOO_LARGE, id="a body without end"),
    pytest.param(
        "balance", lambda: [sized(compression_bomb(128), JSON + GZIP)], 40, TOO_LARGE, id="a compression bomb"
    ),
    pytest.param(
        "download",
        lambda: [sized(compression_bomb(32, layers=2), CSV + b"Content-Encoding: gzip, gzip\r\n")],
        2,
        REJECTED,
        id="two layers",
    ),
    pytest.param(
        "balance", send(sized(b"[%b1]" % (b"1," * (MAX_BODY // 2)))), 200, REJECTED, id="five million numbers"
    ),
    pytest.param("balance", send(sized(LONG_TEXT)), 60, "5", id="a long text"),
    pytest.param(
        "download",
        lambda: [sized(compression_bomb(128), CSV + GZIP)],
        100,
        f"{128 * MEGABYTE}",
        id="a compression bomb as download",
    ),
    pytest.param(
        "download", send_endlessly(CSV + CHUNKED + b"-1\r\n", SPACES), 2, BROKEN, id="a download of one endless chunk"
    ),
]


def test_too_long_numbers_are_not_cached():
    tracemalloc.start()
    for digit in b"12345678":
        response = Response(Call("GET /"), 200, {}, "[" + chr(digit) * MEGABYTE, str)
        with pytest.raises(LeadMagicResponseError):
            response.json(exact_numbers=True)
    del response
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert memory < MEGABYTE


@pytest.mark.parametrize(("call", "script", "megabytes", "outcome"), CASES)
def test_call_ends_in_time_within_the_memory_limit(serve, call, script, megabytes, outcome):
    command = [sys.executable, "-m", "tests.hostile.measured_call", serve(script).url, call]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["outcome"].startswith(outcome), measured
    assert measured["memory"] < megabytes * MEGABYTE, measured
    assert measured["seconds"] < TIMEOUT, measured
