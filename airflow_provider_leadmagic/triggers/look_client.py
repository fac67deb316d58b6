"""A client for one look of a trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

if TYPE_CHECKING:
    from airflow_provider_leadmagic.client import LeadMagicClient


async def client_for_one_look(conn_id: str) -> LeadMagicClient:
    """
    Build a client that repeats nothing: the next look is the retry.

    A new one for each look: a key or an address corrected in the connection is used from the next one on.

    :param conn_id: The connection.
    :raises LeadMagicConnectionError: If the connection cannot be used just now.
    """
    try:
        return await LeadMagicHook(conn_id, max_tries=1).aget_conn()
    except Exception as error:
        # The connection was good when the task began to wait. Airflow reports an outage of its secrets backend or
        # database as a connection that does not exist: a reason to wait, not to fail everybody's task.
        reason = str(error) if isinstance(error, LeadMagicError) else type(error).__name__
        problem = f"Connection {conn_id!r} could not be used just now: {reason}"
        raise LeadMagicConnectionError(problem, request_sent=False) from error
