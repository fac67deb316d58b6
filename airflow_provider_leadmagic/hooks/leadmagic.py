"""Airflow hook that creates a LeadMagic client from an Airflow connection."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.base_url import sends_key_unencrypted
from airflow_provider_leadmagic.api.text import describe_value, format_credits
from airflow_provider_leadmagic.client import DEFAULT_MAX_ATTEMPTS, LeadMagicClient
from airflow_provider_leadmagic.compat.deferral import get_async_connection, leave_running_if_cancelled
from airflow_provider_leadmagic.compat.imports import AirflowNotFoundException, BaseHook
from airflow_provider_leadmagic.compat.task_state import current_task
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError, LeadMagicError
from airflow_provider_leadmagic.get_provider_info import CONNECTION_TYPE
from airflow_provider_leadmagic.hooks.client_arguments import client_arguments, new_unknown_extras
from airflow_provider_leadmagic.hooks.metrics import BalanceMetrics, count_spent_credits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.api.analytics import Analytics
    from airflow_provider_leadmagic.api.bulk import Bulk
    from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
    from airflow_provider_leadmagic.compat.imports import Connection

#: Longest timeout of ``test_connection``, in seconds: a user is waiting for the result.
TEST_TIMEOUT = 10.0


class LeadMagicHook(BaseHook):
    """
    Create a :class:`~airflow_provider_leadmagic.client.LeadMagicClient` from an Airflow connection.

    The connection's password is the API key. Its host is the base URL (``https://api.leadmagic.io`` if empty). Its
    extra fields ``timeout``, ``proxies``, ``verify``, ``headers`` and ``allow_http`` are the client's arguments of the
    same names. The connection is read when a client is first needed, not when the hook is created.

    :param leadmagic_conn_id: Airflow connection ID, ``leadmagic_default`` by default.
    :param max_attempts: Maximum number of attempts for each request, including the first; 4 by default.
    :param max_timeout: Upper limit of the connection's timeout, in seconds; none by default.
    """

    conn_name_attr = "leadmagic_conn_id"
    default_conn_name = "leadmagic_default"
    conn_type = CONNECTION_TYPE["connection-type"]
    hook_name = CONNECTION_TYPE["hook-name"]

    def __init__(
        self,
        leadmagic_conn_id: str = default_conn_name,
        *,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        max_timeout: float = math.inf,
    ) -> None:
        super().__init__()
        self.leadmagic_conn_id = leadmagic_conn_id
        self.max_attempts = max_attempts
        self.max_timeout = max_timeout
        self._client: LeadMagicClient | None = None

    def get_conn(self) -> LeadMagicClient:
        """
        Return the client for the connection. Every call returns the same client.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        if self._client is None:
            with self._count_failures():
                # The connection must not be in a local variable, because a traceback would keep it.
                subject = _capitalize(self._owner)
                self._client = self._build_client(self._read_connection(subject), self._owner, **self._limits)
        return self._client

    async def aget_conn(self) -> LeadMagicClient:
        """
        Return the same client as :meth:`get_conn`, but read the connection without blocking the event loop.

        The client's own methods block: run them in a thread.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        if self._client is None:
            with self._count_failures(), self._explain_missing_connection(_capitalize(self._owner)):
                request = get_async_connection(type(self), self._checked_conn_id())
                # As in get_conn, the connection must not be in a local variable.
                self._client = self._build_client(
                    await leave_running_if_cancelled(request), self._owner, **self._limits
                )
        return self._client

    @property
    def analytics(self) -> Analytics:
        """
        Requests and spending by product and day, from LeadMagic's ``/v1/analytics`` endpoints. Free of charge.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        return self.get_conn().analytics

    @property
    def bulk(self) -> Bulk:
        """
        Bulk jobs, through LeadMagic's ``/bulk`` endpoints.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        return self.get_conn().bulk

    def enrich(self, product: str, **fields: Any) -> dict[str, Any]:
        """
        Enrich one record; see :meth:`LeadMagicClient.enrich`. **Costs credits** if LeadMagic finds a result.

        The credits are added to the counter ``leadmagic.credits_spent``, with DAG and task if a task calls this method.

        :param product: One of :data:`~airflow_provider_leadmagic.api.products.PRODUCTS`.
        :param fields: Known fields of the record, under LeadMagic's field names.
        :raises LeadMagicError: If the connection cannot be used, or the request is rejected or gets no response.
        :raises ValueError: If the product is unknown, or a field is not plain JSON.
        """
        response = self.get_conn().enrich(product, **fields)
        count_spent_credits(response.get("credits_consumed"), self.leadmagic_conn_id, product, current_task())
        return response

    def credits_runway(self, days: int = 7, *, refresh: bool = False) -> CreditsRunway:
        """
        Return how long the spendable credits last at the average spending of the last ``days`` days.

        Makes two requests, or three with ``refresh``, all free of charge, and closes the HTTP connections afterwards.

        :param days: Number of days to average over, including today: 1 to 90, 7 by default.
        :param refresh: If True, LeadMagic first re-reads the balance from its database. False by default.
        :raises LeadMagicError: If the connection cannot be used, or a request is rejected or gets no response.
        :raises ValueError: If ``days`` is out of range.
        """
        with self.get_conn() as client:
            return client.credits_runway(days, refresh=refresh)

    def get_credits(self, *, refresh: bool = False) -> CreditBalance:
        """
        Return the current balance, and close the HTTP connections afterwards.

        :param refresh: If True, LeadMagic first re-reads the balance from its database. False by default.
        :raises LeadMagicError: If the connection cannot be used, or the request is rejected or gets no response.
        """
        with self.get_conn() as client:
            return client.refresh_credits() if refresh else client.get_credits()

    def test_connection(self) -> tuple[bool, str]:
        """
        Read the balance, which is free of charge, and return whether that worked, with a message for the user.

        The message never names the connection: Airflow's Test button gives the connection a random ID, even if it is
        saved and has one.
        """
        owner = "this connection"
        try:
            with self._build_client(
                self._read_connection("Connection"), owner, max_attempts=1, longest_timeout=TEST_TIMEOUT
            ) as client:
                balance = client.get_credits()
        except LeadMagicError as error:
            return False, str(error)
        total, spendable = format_credits(balance.credits), format_credits(balance.spendable)
        return True, f"Connected to LeadMagic: {total} credits, {spendable} spendable."

    def _read_connection(self, subject: str) -> Connection:
        with self._explain_missing_connection(subject):
            return self.get_connection(self._checked_conn_id())

    @property
    def _limits(self) -> dict[str, Any]:
        return {"max_attempts": self.max_attempts, "longest_timeout": self.max_timeout}

    def _build_client(
        self, connection: Connection, owner: str, *, max_attempts: int, longest_timeout: float = math.inf
    ) -> LeadMagicClient:
        """
        Build the client, and log insecure settings and unknown extra fields.

        The error is raised without the connection and the API key in its traceback, which some tools record.
        """
        try:
            for warning in new_unknown_extras(connection, owner):
                self.log.warning(warning)
            client = LeadMagicClient(
                **client_arguments(connection, longest_timeout),
                max_attempts=max_attempts,
                owner=owner,
                observer=BalanceMetrics(self.leadmagic_conn_id),
            )
        except LeadMagicConfigurationError as error:
            problem = str(error)
        else:
            problem = ""
        del connection
        if problem:
            raise LeadMagicConfigurationError(f"{_capitalize(owner)} cannot be used: {problem}.")
        if sends_key_unencrypted(client.base_url):
            advice = "allow_http is for test servers only"
            self.log.warning("API key is sent unencrypted to %s: %s. [%s]", client.base_url, advice, owner)
        if client.accepts_any_certificate:
            advice = "set verify to a file of CA certificates"
            self.log.warning("Certificate of %s is not checked: %s. [%s]", client.base_url, advice, owner)
        return client

    @property
    def _owner(self) -> str:
        return f"connection {self.leadmagic_conn_id!r}"

    @contextmanager
    def _count_failures(self) -> Iterator[None]:
        try:
            yield
        except LeadMagicConfigurationError as error:
            BalanceMetrics(self.leadmagic_conn_id).failed(error)
            raise

    def _checked_conn_id(self) -> str:
        conn_id = self.leadmagic_conn_id
        if not isinstance(conn_id, str) or not conn_id.strip():
            raise LeadMagicConfigurationError(
                f"leadmagic_conn_id must be a connection ID; got {describe_value(conn_id)}"
            )
        return conn_id

    @contextmanager
    def _explain_missing_connection(self, subject: str) -> Iterator[None]:
        try:
            yield
        except AirflowNotFoundException:
            raise LeadMagicConfigurationError(
                f"{subject} not found: create it (type LeadMagic) under Admin > Connections, or set "
                "leadmagic_conn_id to an existing one. Airflow also reports a connection as missing if its URI or "
                "JSON cannot be parsed."
            ) from None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels and placeholders of the standard form fields, for Airflow before 3.2."""
        behaviour = CONNECTION_TYPE["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """
        Return the widgets of the additional form fields, for Airflow before 3.2.

        These versions accept no field for decimal numbers, so the timeout is a whole number in their forms.
        """
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import IntegerField, StringField
        from wtforms.validators import NumberRange, Optional

        def widget(field: dict[str, Any]) -> Any:
            minimum = field["schema"].get("minimum")
            return (StringField if minimum is None else IntegerField)(
                lazy_gettext(field["label"]),
                widget=BS3TextFieldWidget(),
                validators=[Optional(), *([] if minimum is None else [NumberRange(min=minimum)])],
                description=field["description"],
            )

        return {name: widget(field) for name, field in CONNECTION_TYPE["conn-fields"].items()}


def _capitalize(owner: str) -> str:
    return owner[0].upper() + owner[1:]
