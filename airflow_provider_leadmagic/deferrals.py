"""What Airflow tells a task whose deferral came to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.gate import Log

#: ``next_method`` of a task whose trigger failed or ran out of time.
FAILED = "__fail__"

# What the scheduler says about one that ran out of time: Airflow 2.11, Airflow 3.
_TIMEOUTS = ("Trigger/execution timeout", "Trigger timeout")


def is_timeout(failure: dict[str, Any]) -> bool:
    """
    Tell whether a deferral ran out of time.

    :param failure: ``next_kwargs`` of the task.
    """
    return failure.get("error") in _TIMEOUTS


def trigger_error(log: Log, failure: dict[str, Any]) -> LeadMagicError:
    """
    Write down why a trigger failed, and build the error for it.

    Airflow's own error would be skipped under ``soft_fail``, and a crash must not end as a green run.

    :param log: The task's logger.
    :param failure: ``next_kwargs`` of the task.
    """
    log.error("The trigger failed:\n%s", "\n".join(failure.get("traceback") or ["no traceback came with it"]))
    return LeadMagicError(f"The trigger failed ({failure.get('error')}); the log above says how.")
