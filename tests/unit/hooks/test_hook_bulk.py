"""Tests of the hook's bulk calls: same results as the client, errors name the connection."""

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
#: Every call of ``hook.bulk``, with valid arguments.
CALLS = {
    "preview": lambda hook: hook.bulk.preview("email_finder", LEADS),
    "validate": lambda hook: hook.bulk.validate("email_finder", LEADS),
    "submit": lambda hook: hook.bulk.submit("email_finder", LEADS, idempotency_key="k1"),
    "get": lambda hook: hook.bulk.get("j1"),
    "list": lambda hook: next(hook.bulk.list()),
    "latest": lambda hook: hook.bulk.latest(),
    "results": lambda hook: next(hook.bulk.results("j1")),
    "download": lambda hook: hook.bulk.download("j1", io.BytesIO()),
    "cancel": lambda hook: hook.bulk.cancel("j1"),
    "resume": lambda hook: hook.bulk.resume("j1"),
    "restart": lambda hook: hook.bulk.restart("j1"),
}


def public_calls(owner):
    return {name for name, _ in inspect.getmembers(owner, inspect.isfunction) if not name.startswith("_")}


def test_every_public_call_is_covered_here():
    assert public_calls(Bulk) == set(CALLS)


def test_bulk_of_the_hook_is_the_bulk_of_its_client(leadmagic_sandbox):
    assert type(LeadMagicHook().bulk) is type(LeadMagicHook().get_conn().bulk) is Bulk


def test_enrich_returns_a_single_record(leadmagic_sandbox):
    assert LeadMagicHook().enrich("email_finder", **LEADS[0])["credits_consumed"] == 1


def test_job_can_be_run_from_validation_to_download(leadmagic_sandbox):
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


def test_paused_job_can_be_resumed(leadmagic_sandbox):
    hook = LeadMagicHook()
    leadmagic_sandbox.set_credits(2)
    job_id = hook.bulk.submit("email_finder", LEADS, idempotency_key="k1").job_id
    assert hook.bulk.get(job_id).is_paused
    leadmagic_sandbox.add_credits(1)
    hook.bulk.resume(job_id)
    assert hook.bulk.get(job_id).is_completed


@pytest.mark.parametrize("name", CALLS)
def test_connection_is_read_at_the_first_call(name, leadmagic_sandbox):
    hook = LeadMagicHook("missing")
    with pytest.raises(LeadMagicConfigurationError, match="Connection 'missing' not found: create it"):
        CALLS[name](hook)
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("name", CALLS)
def test_rejected_key_names_the_connection_and_is_not_shown(wrong_key, name):
    with pytest.raises(LeadMagicAuthenticationError, match="check the password of connection 'lead'") as caught:
        CALLS[name](wrong_key)
    assert CANARY not in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize("name", CALLS)
def test_max_attempts_of_the_hook_applies(leadmagic_sandbox, name):
    leadmagic_sandbox.fail_next("*", status=503, times=None)
    with pytest.raises(LeadMagicServerError):
        CALLS[name](LeadMagicHook(max_attempts=1))
    assert len(leadmagic_sandbox.requests) == 1


def test_all_calls_of_a_hook_use_one_client(leadmagic_sandbox, mocker):
    built = mocker.spy(LeadMagicClient, "__init__")
    hook = LeadMagicHook()
    hook.bulk.preview("email_finder", LEADS)
    hook.bulk.validate("email_finder", LEADS)
    assert built.call_count == 1
