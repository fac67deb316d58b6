"""The hook makes the calls about bulk jobs as its client does: here is what it adds."""

from __future__ import annotations

import inspect
import io

import pytest

from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
    LeadMagicServerError,
)
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from tests.unit.conftest import CANARY

LEADS = [{"full_name": f"Lead {number}", "domain": "example.com"} for number in range(3)]
#: Each call with something it can be called with.
CALLS = {
    "preview": lambda hook: hook.bulk.preview("email_finder", LEADS),
    "validate": lambda hook: hook.bulk.validate("email_finder", LEADS),
    "submit": lambda hook: hook.bulk.submit("email_finder", LEADS, idempotency_key="k1"),
    "get": lambda hook: hook.bulk.get("j1"),
    "list": lambda hook: next(hook.bulk.list()),
    "results": lambda hook: next(hook.bulk.results("j1")),
    "download": lambda hook: hook.bulk.download("j1", io.BytesIO()),
    "cancel": lambda hook: hook.bulk.cancel("j1"),
    "resume": lambda hook: hook.bulk.resume("j1"),
    "restart": lambda hook: hook.bulk.restart("j1"),
}


def public_calls(owner):
    return {name for name, _ in inspect.getmembers(owner, inspect.isfunction) if not name.startswith("_")}


def test_the_calls_are_all_tested_here():
    assert public_calls(Bulk) == set(CALLS)


def test_they_are_the_calls_of_the_client(leadmagic_sandbox):
    assert type(LeadMagicHook().bulk) is type(LeadMagicHook().get_conn().bulk) is Bulk


def test_the_hook_looks_up_single_records_too(leadmagic_sandbox):
    assert LeadMagicHook().enrich("email_finder", **LEADS[0])["credits_consumed"] == 1


def test_a_job_goes_all_its_way_through_the_hook(leadmagic_sandbox):
    hook, file = LeadMagicHook(), io.BytesIO()
    assert hook.bulk.validate("email_finder", LEADS)["valid"] is True
    assert hook.bulk.preview("email_finder", LEADS).credits == 3
    job_id = hook.bulk.submit("email_finder", LEADS, idempotency_key="k1").job_id
    hook.bulk.cancel(job_id)
    assert hook.bulk.get(job_id).is_completed
    assert hook.bulk.restart(job_id) == job_id
    assert len(list(hook.bulk.results(job_id))) == 3
    assert hook.bulk.download(job_id, file) == len(file.getvalue())
    assert leadmagic_sandbox.charges_per_row(job_id) == {0: 1, 1: 1, 2: 1}


def test_a_paused_job_is_resumed_through_the_hook(leadmagic_sandbox):
    hook = LeadMagicHook()
    leadmagic_sandbox.set_credits(2)
    job_id = hook.bulk.submit("email_finder", LEADS, idempotency_key="k1").job_id
    assert hook.bulk.get(job_id).is_paused
    leadmagic_sandbox.add_credits(1)
    hook.bulk.resume(job_id)
    assert hook.bulk.get(job_id).is_completed


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_read_from_airflow_before_a_call(name, leadmagic_sandbox):
    hook = LeadMagicHook("nobody_made_this")
    with pytest.raises(LeadMagicConfigurationError, match="Connection 'nobody_made_this' does not exist"):
        CALLS[name](hook)
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("name", CALLS)
def test_a_rejected_key_is_blamed_on_the_connection_by_name_and_not_shown(wrong_key, name):
    with pytest.raises(LeadMagicAuthenticationError, match="Check the API key of connection 'lead'") as caught:
        CALLS[name](wrong_key)
    assert CANARY not in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize("name", CALLS)
def test_it_is_tried_as_often_as_the_hook_was_told(leadmagic_sandbox, name):
    leadmagic_sandbox.fail_next("*", status=503, times=None)
    with pytest.raises(LeadMagicServerError):
        CALLS[name](LeadMagicHook(max_attempts=1))
    assert len(leadmagic_sandbox.requests) == 1


def test_all_calls_of_a_hook_go_through_one_client(leadmagic_sandbox, mocker):
    built = mocker.spy(LeadMagicClient, "__init__")
    hook = LeadMagicHook()
    hook.bulk.preview("email_finder", LEADS)
    hook.bulk.validate("email_finder", LEADS)
    assert built.call_count == 1
