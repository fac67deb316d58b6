"""Property-based tests of responses and of numbers given by users."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_leadmagic.api.base_url import is_loopback, normalize_base_url
from airflow_provider_leadmagic.api.errors import error_for_response, parse_retry_after
from airflow_provider_leadmagic.api.jobs import BulkJob
from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.api.response import Call, Response
from airflow_provider_leadmagic.api.text import format_credits, json_number, quoted_values, redact
from airflow_provider_leadmagic.api.validation import parse_amount, parse_credits
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.decisions.events import error_event, error_from_event
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicError,
    LeadMagicResponseError,
)
from tests.support.raw_server import RawServer
from tests.support.responses import BALANCE_RESPONSE, JSON, sized

KEY = "lm_0123456789abcdef"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(f"your key is {KEY}"),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
CREDITS = st.decimals(min_value=0, max_value=10**12, allow_nan=False, allow_infinity=False, places=2)
#: Text that often looks like a number.
NUMBER_TEXT = st.text(alphabet="0123456789.eE+-_ NaInfity\u0663", max_size=30)
ANY_NUMBER = st.integers() | st.floats() | st.decimals() | NUMBER_TEXT


def fields_of(*names: str) -> st.SearchStrategy[dict[str, object]]:
    """Generate objects with some of these fields, with any value, and some other fields."""
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(names, JSON_VALUES | NUMBER_TEXT))
    return st.builds(lambda one, other: one | other, st.dictionaries(st.text(), JSON_VALUES, max_size=2), known)


BALANCES = fields_of(
    "credits", "is_frozen", "credits_frozen", "credits_liquid", "credit_freeze_message", "credit_freeze_plan_hint"
)
JOBS = fields_of(
    "jobId", "job_id", "status", "totalRows", "total_rows", "processed_items", "succeeded_items", "failed_items",
    "skipped_items", "total_credits_consumed", "file_name",
)  # fmt: skip
PROBLEMS = fields_of("title", "message", "code", "detail", "action", "docs", "context", "error", "meta", "trace")
CONTEXTS = st.fixed_dictionaries(
    {"context": fields_of("credits_required", "credits_available", "retry_after_seconds")},
    optional={"trace": fields_of("request_id")},
)
ERROR_BODIES = (
    JSON_VALUES
    | PROBLEMS
    | CONTEXTS
    | st.builds(lambda problems: {"errors": problems}, st.lists(PROBLEMS | CONTEXTS | JSON_VALUES, max_size=2))
    | st.builds(lambda problem: {"error": problem}, PROBLEMS | CONTEXTS)
)


def make_response(text: str, status: int = 200, **headers: str) -> Response:
    call = Call("GET https://api.leadmagic.io/v1/credits")
    return Response(call, status, headers, text, lambda value, private=None: redact(value, [KEY], private))


def outcome_of(call: Callable[[], object]) -> object:
    """Return the result of a call, or the exception if it is a documented one."""
    try:
        return call()
    except (LeadMagicError, ValueError) as error:
        return error


class TestBalance:
    @given(BALANCES)
    def test_result_is_valid_or_an_error(self, fields):
        response = make_response(json.dumps(fields))
        balance = outcome_of(lambda: CreditBalance.from_api(response.json(exact_numbers=True), response.redact))
        assert KEY not in repr(balance)
        if isinstance(balance, CreditBalance):
            report = balance.report(Decimal(5))
            assert json.loads(json.dumps(report, allow_nan=False)) == report
            assert CreditBalance.from_json(json.loads(json.dumps(balance.to_json()))) == balance
        else:
            assert isinstance(balance, LeadMagicResponseError)

    @given(CREDITS)
    def test_credits_are_exact(self, credits):
        response = make_response(f'{{"credits": {credits}}}')
        balance = CreditBalance.from_api(response.json(exact_numbers=True))
        assert balance.credits == balance.spendable == credits

    @given(CREDITS, CREDITS)
    def test_comparison_with_a_threshold_is_exact(self, credits, minimum):
        balance = CreditBalance.from_json({"credits": str(credits), "observed_at": "2026-01-01T00:00:00+00:00"})
        assert balance.covers(parse_credits("minimum_credits", str(minimum))) == (credits >= minimum)


class TestErrorResponses:
    @given(ERROR_BODIES, st.integers(400, 599), st.none() | st.text(), st.none() | st.text())
    def test_message_is_one_line_without_the_key(self, body, status, retry_after, request_id):
        given_headers = {"Retry-After": retry_after, "X-Request-Id": request_id}
        headers = {name: value for name, value in given_headers.items() if value is not None}
        error = error_for_response(make_response(json.dumps(body), status, **headers))
        assert (error.status, len(str(error).splitlines())) == (status, 1)
        assert str(error).isprintable()
        assert KEY not in f"{error!r} {vars(error)}"
        assert error.retry_after is None or (error.retry_after >= 0 and math.isfinite(error.retry_after))
        assert len(str(error)) < 2000

    @given(st.text(), st.integers(400, 599))
    def test_body_that_is_not_json(self, text, status):
        assert error_for_response(make_response(text, status)).status == status

    @given(ERROR_BODIES, st.integers(400, 599))
    def test_error_is_equal_after_an_event(self, body, status):
        error = error_for_response(make_response(json.dumps(body), status))
        event = json.loads(json.dumps(error_event(error), allow_nan=False))
        again = error_from_event(event)
        assert (type(again), str(again), again.retry_after) == (type(error), str(error), error.retry_after)

    @given(st.text(), st.text(), st.sampled_from(["", " ", "token=", "%"]))
    def test_key_is_hidden_at_any_position(self, before, after, glue):
        assert KEY not in (redact(f"{before}{glue}{KEY}{glue}{after}", [KEY]) or "")


#: Words of LeadMagic's explanations, and records as people have them.
EXPLANATIONS = st.sampled_from(
    ["Email is required", "Row 3: {} is invalid", "{} ({}) was not found: check {}.", "«{}»"]
)
NAMES = st.text(st.characters(categories=["L"]), min_size=2, max_size=12)
RECORDS = st.dictionaries(
    st.sampled_from(["full_name", "domain", "company_name", "email"]),
    NAMES | st.builds("{} {}".format, NAMES, NAMES) | st.emails() | st.from_regex(r"\A\+[1-9][0-9]{8,13}\Z"),
    min_size=1,
)


class TestRecordsInErrorResponses:
    @staticmethod
    def error_of(title: str, values: list[str]) -> LeadMagicError:
        response = replace(make_response(json.dumps({"title": title, "detail": title}), 422), sent=lambda: values)
        return error_for_response(response)

    @given(EXPLANATIONS, RECORDS, st.sampled_from([str, str.upper, str.lower]))
    def test_no_value_of_the_record_is_quoted(self, explanation, record, change):
        values = list(record.values())
        error = self.error_of(explanation.format(*([change(values[0])] * 3)), values)
        frame = explanation.replace("{}", "").casefold() + "request rejected (422): [redacted]"
        assert values[0] in frame or values[0] not in f"{error} {error.detail}".split(" [GET ")[0]

    @given(EXPLANATIONS, RECORDS)
    def test_everything_else_is_kept(self, explanation, record):
        values = [f"{value} & Sons" for value in record.values()]
        error = self.error_of(explanation.format(*values[:1] * 3), values)
        assert error.detail == explanation.format(*["[redacted]"] * 3)

    @given(st.text(), st.lists(st.text(), max_size=4))
    def test_any_text_and_any_values_give_a_short_printable_line(self, text, values):
        error = self.error_of(text, [*values, text])
        assert str(error).isprintable()
        assert len(str(error)) < 1000


#: Ways in which a server may write the key.
FORMS = {
    "as it is": str,
    "upper case": str.upper,
    "spaces": " ".join,
    "lines": "\n".join,
    "percent": lambda key: "".join(f"%{ord(each):02x}" for each in key),
    "some percent": lambda key: key.replace("_", "%5F"),
    "HTML": lambda key: "".join(f"&#{ord(each)};" for each in key),
    "hexadecimal": lambda key: key.encode().hex(),
}


class TestSecretsInText:
    @given(st.text(), st.sampled_from(sorted(FORMS)), st.text())
    def test_key_is_hidden_in_every_form(self, before, form, after):
        quoted = FORMS[form](KEY)
        shown = redact(f"{before} {quoted} {after}", [KEY]) or ""
        assert "".join(quoted.split()) not in "".join(shown.split())

    @given(st.binary(max_size=9), st.binary(max_size=9))
    def test_key_is_hidden_in_base64_of_other_bytes(self, before, after):
        encoded = base64.b64encode(before + KEY.encode() + after).decode()
        only_of_the_key = encoded[math.ceil(len(before) * 4 / 3) : (len(before) + len(KEY)) * 4 // 3]
        shown = redact(encoded, [KEY]) or ""
        assert only_of_the_key not in shown
        assert shown.startswith(encoded[: len(before) * 4 // 3])

    @given(
        st.lists(st.sampled_from(["token", "key", "is", "the", "of", "a", "row", "=", "required", "email", "@", "12"]))
    )
    def test_text_keeps_its_beginning(self, words):
        text = " ".join(words)
        assert (redact(text, [KEY], ()) or "").split()[:1] == text.split()[:1]

    @pytest.mark.parametrize(
        "part",
        ["a", " ", KEY[:-1], KEY[0], "token", "token ", "token=\\", "token%25", "a@", "%25", "1 ", "(1", "eyJ", "1-",
         "l \\n", "&#0", "eyJaaaaaaaaaaaa.", "linkedin.com/in/"],
    )  # fmt: skip
    def test_ten_megabytes_take_less_than_a_second(self, part):
        text = part * (10_000_000 // len(part))
        started = time.process_time()
        redact(text, [KEY], {"Ada"})
        redact(text[: 30_000 - len(KEY)] + KEY, [KEY], {"Ada"})
        assert time.process_time() - started < 1

    def test_half_a_million_rows_are_compared_in_seconds(self):
        rows = ({"full_name": f"Lead {number}", "company_name": f"Company {number}"} for number in range(500_000))
        started = time.process_time()
        values = (value for row in rows for value in row.values())
        text = "Lead 77 of Company 499999 is invalid"
        assert redact(text, (), quoted_values(values, [text])) == "[redacted] of [redacted] is invalid"
        assert time.process_time() - started < 10

    @pytest.mark.parametrize("length", [29_990, 30_000, 30_010])
    def test_key_at_the_end_of_what_is_read_is_hidden(self, length):
        shown = redact("x" + " " * (length - len(KEY)) + KEY + "y" * 5000, [KEY]) or ""
        assert KEY[:8] not in shown


class TestRetryAfter:
    @given(st.text() | NUMBER_TEXT | st.text(alphabet='Wed, 21Oct2015:GMT+-()"\\', max_size=40))
    @example("(")
    @example(",")
    @example("Wed, 21 Oct 2015 07:28:00 +99999999")
    def test_result_is_seconds_or_none(self, header):
        seconds = parse_retry_after(header)
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_number_is_returned_but_never_below_zero(self, seconds):
        assert parse_retry_after(str(seconds)) == max(seconds, 0.0)


class TestThresholds:
    @given(ANY_NUMBER | JSON_VALUES)
    def test_threshold_is_a_number_or_rejected_in_an_error_that_names_it(self, value):
        number = outcome_of(lambda: parse_amount("minimum_credits", value, "credits"))
        if isinstance(number, Decimal):
            assert number >= 0
            assert math.isfinite(json_number(number))
            assert format_credits(number)
        else:
            assert str(number).startswith("minimum_credits must be a number of credits, 0 or more; got ")

    @given(CREDITS)
    def test_all_notations_are_the_same_number(self, number):
        assert {parse_credits("m", each) for each in (number, str(number), f" {number} ")} == {number}

    @given(st.integers(0, 10**15) | st.floats(0, 1e15))
    def test_python_number_keeps_its_digits(self, number):
        assert parse_credits("m", number) == Decimal(str(number))
        assert json_number(parse_credits("m", number)) == number

    @given(CREDITS)
    def test_formatted_credits_are_exact(self, number):
        assert Decimal(format_credits(number).replace(",", "")) == number


class TestBulkJob:
    @given(JOBS)
    def test_result_is_valid_or_an_error(self, fields):
        response = make_response(json.dumps(fields))
        job = outcome_of(lambda: BulkJob.from_api(response.json(exact_numbers=True), response.redact))
        assert KEY not in repr(job)
        if isinstance(job, BulkJob):
            assert BulkJob.from_json(json.loads(json.dumps(job.to_json(), allow_nan=False))) == job
            assert job.progress().endswith(" credits used")
        else:
            assert isinstance(job, LeadMagicResponseError)


class TestBaseUrl:
    ADDRESSES = st.text() | st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "http://", "https://", "HTTPS://", "ftp://", "//", "http:", "://"]),
        st.sampled_from(["api.leadmagic.io", "localhost", "127.0.0.1", "[::1]", "[fe80::1%25lo]", "a@b", ""])
        | st.text(),
        st.sampled_from(["", ":80", ":0", ":99999", ":", ":x", ":\u0663"]),
        st.sampled_from(["", "/", "/v2//", "?a=b", "#c", "/ ", "/\u2028"]) | st.text(),
    )

    @given(ADDRESSES)
    def test_url_is_https_or_loopback_or_rejected(self, address):
        url = outcome_of(lambda: normalize_base_url(address))
        if isinstance(url, str):
            assert url.startswith("https://") or (url.startswith("http://") and is_loopback(url))
            assert not url.endswith("/")
            assert normalize_base_url(url) == url
        else:
            assert isinstance(url, LeadMagicConfigurationError)


@pytest.fixture(scope="module")
def client_and_steps() -> Iterator[tuple[LeadMagicClient, list[bytes]]]:
    """Return a client, and a list with the bytes of its next response."""
    steps: list[bytes] = []
    server = RawServer(lambda: steps)
    with LeadMagicClient(KEY, server.url, timeout=5, max_attempts=1) as client:
        yield client, steps
    server.stop()


class TestArbitraryBytes:
    """Responses of arbitrary bytes over a real socket."""

    MUTATIONS = st.lists(
        st.tuples(st.integers(0, len(BALANCE_RESPONSE)), st.integers(0, 4), st.binary(max_size=4) | st.just(b"\r\n")),
        max_size=4,
    )
    PARTS = st.lists(
        st.sampled_from(
            [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Hm\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"5\r\n",
             b"-1\r\n", b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Content-Encoding: gzip\r\n", b"Location: //[\r\n",
             b"Content-Length: -1\r\n", b"Set-Cookie: \xff=\x00\r\n", b'{"credits": 5}', b"X-Credits-Remaining: sNaN"]
        ),
        max_size=8,
    )  # fmt: skip

    @given(MUTATIONS | PARTS)
    def test_arbitrary_response_is_a_balance_or_a_leadmagic_error(self, client_and_steps, parts):
        client, steps = client_and_steps
        client.close()  # the server has closed the connection, which the client may notice too late
        steps[:] = [mutated(BALANCE_RESPONSE, parts) if parts and isinstance(parts[0], tuple) else b"".join(parts)]
        outcome = outcome_of(client.get_credits)
        assert isinstance(outcome, CreditBalance | LeadMagicError)
        assert str(outcome).isprintable()
        assert KEY not in str(outcome)

    @given(st.binary(max_size=60))
    def test_arbitrary_body_is_a_response_error(self, client_and_steps, body):
        client, steps = client_and_steps
        client.close()
        steps[:] = [sized(body, JSON)]
        with pytest.raises(LeadMagicResponseError):
            client.get_credits()


def mutated(response: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for start, length, new in changes:
        response = response[:start] + new + response[start + length :]
    return response
