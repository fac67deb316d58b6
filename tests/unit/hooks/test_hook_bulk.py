"""The hook makes the calls about bulk jobs as its client does: here is what it adds."""

from __future__ import annotations

import inspect
import io

import pytest

from airflow_provider_leadmagic.api.bulk import BulkCalls
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
    "preview_cost": lambda hook: hook.preview_cost("email_finder", LEADS),
    "validate_bulk": lambda hook: hook.validate_bulk("email_finder", LEADS),
    "submit_bulk": lambda hook: hook.submit_bulk("email_finder", LEADS, idempotency_key="k1"),
    "get_bulk_job": lambda hook: hook.get_bulk_job("j1"),
    "list_bulk_jobs": lambda hook: next(hook.list_bulk_jobs()),
    "iter_bulk_results": lambda hook: next(hook.iter_bulk_results("j1")),
    "download_bulk_results": lambda hook: hook.download_bulk_results("j1", io.BytesIO()),
    "cancel_bulk_job": lambda hook: hook.cancel_bulk_job("j1"),
    "resume_bulk_job": lambda hook: hook.resume_bulk_job("j1"),
    "restart_bulk_job": lambda hook: hook.restart_bulk_job("j1"),
}


def public_calls(owner):
    return {name for name, _ in inspect.getmembers(owner, inspect.isfunction) if not name.startswith("_")}


def test_the_calls_are_all_tested_here():
    assert public_calls(BulkCalls) == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_client_and_hook_describe_a_call_in_the_same_words(name):
    hook_call, client_call = getattr(LeadMagicHook, name), getattr(LeadMagicClient, name)
    assert inspect.signature(hook_call) == inspect.signature(client_call)
    assert inspect.getdoc(hook_call) == inspect.getdoc(client_call)


def test_a_job_goes_all_its_way_through_the_hook(leadmagic_sandbox):
    hook, file = LeadMagicHook(), io.BytesIO()
    assert hook.validate_bulk("email_finder", LEADS)["valid"] is True
    assert hook.preview_cost("email_finder", LEADS).credits == 3
    job_id = hook.submit_bulk("email_finder", LEADS, idempotency_key="k1").job_id
    hook.cancel_bulk_job(job_id)
    assert hook.get_bulk_job(job_id).is_completed
    assert hook.restart_bulk_job(job_id) == job_id
    assert len(list(hook.iter_bulk_results(job_id))) == 3
    assert hook.download_bulk_results(job_id, file) == len(file.getvalue())
    assert leadmagic_sandbox.charges_per_row(job_id) == {0: 1, 1: 1, 2: 1}


def test_a_paused_job_is_resumed_through_the_hook(leadmagic_sandbox):
    hook = LeadMagicHook()
    leadmagic_sandbox.set_credits(2)
    job_id = hook.submit_bulk("email_finder", LEADS, idempotency_key="k1").job_id
    assert hook.get_bulk_job(job_id).is_paused
    leadmagic_sandbox.add_credits(1)
    hook.resume_bulk_job(job_id)
    assert hook.get_bulk_job(job_id).is_completed


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
        CALLS[name](LeadMagicHook(max_tries=1))
    assert len(leadmagic_sandbox.requests) == 1


def test_all_calls_of_a_hook_go_through_one_client(leadmagic_sandbox, mocker):
    built = mocker.spy(LeadMagicClient, "__init__")
    hook = LeadMagicHook()
    hook.preview_cost("email_finder", LEADS)
    hook.validate_bulk("email_finder", LEADS)
    assert built.call_count == 1
