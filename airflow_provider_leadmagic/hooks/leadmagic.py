"""From an Airflow connection to a LeadMagic client."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.base_url import DEFAULT_BASE_URL, normalize_base_url
from airflow_provider_leadmagic.api.text import describe_value, format_credits
from airflow_provider_leadmagic.client import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_TIMEOUT,
    LeadMagicClient,
    parse_timeout,
)
from airflow_provider_leadmagic.compat.deferral import finish_even_if_cancelled
from airflow_provider_leadmagic.compat.imports import AirflowNotFoundException, BaseHook, get_async_connection
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicResponseError,
)
from airflow_provider_leadmagic.get_provider_info import CONNECTION_TYPE
from airflow_provider_leadmagic.hooks.metrics import BalanceMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.api.analytics import Analytics
    from airflow_provider_leadmagic.api.bulk import Bulk
    from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
    from airflow_provider_leadmagic.compat.imports import Connection

#: Longest wait of ``test_connection``, in seconds: somebody is looking at a button.
TEST_TIMEOUT = 10.0


class LeadMagicHook(BaseHook):
    """
    Gives tasks a :class:`~airflow_provider_leadmagic.client.LeadMagicClient` made from an Airflow connection.

    The connection's password is the API key; its host the base URL, ``https://api.leadmagic.io`` when empty; the
    extra field ``timeout`` the seconds a response may take as a whole, 30 when absent. Nothing is read before a
    client is asked for.

    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default.
    :param max_attempts: Requests one call may make, the first included, 4 by default.
    """

    conn_name_attr = "leadmagic_conn_id"
    default_conn_name = "leadmagic_default"
    conn_type = CONNECTION_TYPE["connection-type"]
    hook_name = CONNECTION_TYPE["hook-name"]

    def __init__(self, leadmagic_conn_id: str = default_conn_name, *, max_attempts: int = DEFAULT_MAX_ATTEMPTS) -> None:
        super().__init__()
        self.leadmagic_conn_id = leadmagic_conn_id
        self.max_attempts = max_attempts
        self._client: LeadMagicClient | None = None

    def get_conn(self) -> LeadMagicClient:
        """
        Return a client for the connection, the same one each time.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        if self._client is None:
            with self._failures_counted():
                self._client = self._build_client(self._read_connection(), max_attempts=self.max_attempts)
        return self._client

    async def aget_conn(self) -> LeadMagicClient:
        """
        Return the same client as :meth:`get_conn`, reading the connection without blocking the event loop.

        The client's calls do block: give them to a thread.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        if self._client is None:
            with self._failures_counted():
                with self._explain_missing_connection():
                    question = get_async_connection(type(self), self._checked_conn_id())
                    connection = await finish_even_if_cancelled(question)
                self._client = self._build_client(connection, max_attempts=self.max_attempts)
        return self._client

    @property
    def analytics(self) -> Analytics:
        """
        What was requested and spent: LeadMagic's ``/v1/analytics``. Free of charge.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        return self.get_conn().analytics

    @property
    def bulk(self) -> Bulk:
        """
        Bulk jobs: LeadMagic's ``/bulk``.

        :raises LeadMagicConfigurationError: If the connection does not exist or cannot be used.
        """
        return self.get_conn().bulk

    def enrich(self, product: str, **fields: Any) -> dict[str, Any]:
        """
        Look up one record, as :meth:`LeadMagicClient.enrich` does. **Costs credits** when LeadMagic finds something.

        :param product: One of :data:`~airflow_provider_leadmagic.api.products.PRODUCTS`.
        :param fields: What is known of the record, under LeadMagic's field names.
        :raises LeadMagicError: If the connection cannot be used, or LeadMagic refuses or does not response.
        :raises ValueError: If the product is unknown, or a field is not plain JSON.
        """
        return self.get_conn().enrich(product, **fields)

    def credits_runway(self, days: int = 7, *, refresh: bool = False) -> CreditsRunway:
        """
        Tell how long the spendable credits last at the average pace of the last days. Two reads, free of charge.

        :param days: Window of the average that ends today, 1 to 90; 7 by default.
        :param refresh: Have LeadMagic re-read the balance from its database first. Off by default.
        :raises LeadMagicError: If the connection cannot be used, or LeadMagic refuses or does not response.
        :raises ValueError: If the window is out of range.
        """
        with self.get_conn() as client:
            return client.credits_runway(days, refresh=refresh)

    def get_credits(self, *, refresh: bool = False) -> CreditBalance:
        """
        Read the balance once, and close the connections to LeadMagic.

        :param refresh: Have LeadMagic re-read it from its database first. Off by default.
        :raises LeadMagicError: If the connection cannot be used, or LeadMagic refuses or does not response.
        """
        with self.get_conn() as client:
            return client.refresh_credits() if refresh else client.get_credits()

    def test_connection(self) -> tuple[bool, str]:
        """Read the balance, which is free, and say in one sentence what works or what is wrong."""
        try:
            connection = self._read_connection()
            with self._build_client(connection, max_attempts=1, longest_timeout=TEST_TIMEOUT) as client:
                balance = client.get_credits()
        except LeadMagicError as error:
            return False, f"{_diagnosis(error)}{error}"
        total, spendable = format_credits(balance.credits), format_credits(balance.spendable)
        return True, f"LeadMagic answered: {total} credits, of which {spendable} can be spent now."

    def _read_connection(self) -> Connection:
        with self._explain_missing_connection():
            return self.get_connection(self._checked_conn_id())

    def _build_client(
        self, connection: Connection, *, max_attempts: int, longest_timeout: float = math.inf
    ) -> LeadMagicClient:
        """Build the client: the one place where fields of the connection are read."""
        try:
            return LeadMagicClient(
                api_key=connection.password or "",
                base_url=_base_url(connection),
                timeout=min(_timeout(connection), longest_timeout),
                max_attempts=max_attempts,
                owner=f"connection {self.leadmagic_conn_id!r}",
                observer=BalanceMetrics(self.leadmagic_conn_id),
            )
        except LeadMagicConfigurationError as error:
            problem = f"Connection {self.leadmagic_conn_id!r} cannot be used: {error}."
            raise LeadMagicConfigurationError(problem) from None

    @contextmanager
    def _failures_counted(self) -> Iterator[None]:
        try:
            yield
        except LeadMagicConfigurationError as error:
            BalanceMetrics(self.leadmagic_conn_id).failed(error)
            raise

    def _checked_conn_id(self) -> str:
        conn_id = self.leadmagic_conn_id
        if not isinstance(conn_id, str) or not conn_id.strip():
            raise LeadMagicConfigurationError(
                f"leadmagic_conn_id must be the id of a connection; got {describe_value(conn_id)}"
            )
        return conn_id

    @contextmanager
    def _explain_missing_connection(self) -> Iterator[None]:
        try:
            yield
        except AirflowNotFoundException:
            raise LeadMagicConfigurationError(
                f"Connection {self.leadmagic_conn_id!r} does not exist: add it under Admin, Connections with the "
                "type LeadMagic, or set leadmagic_conn_id to one that does. What cannot be parsed counts as missing."
            ) from None

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the standard fields of the form to Airflow before 3.2."""
        behaviour = CONNECTION_TYPE["ui-field-behaviour"]
        return {name.replace("-", "_"): value for name, value in behaviour.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the additional fields of the form to Airflow before 3.2, which takes few kinds and no fractions."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import IntegerField
        from wtforms.validators import NumberRange, Optional

        return {
            name: IntegerField(
                lazy_gettext(field["label"]),
                widget=BS3TextFieldWidget(),
                validators=[Optional(), NumberRange(min=field["schema"]["minimum"])],
                description=field["description"],
            )
            for name, field in CONNECTION_TYPE["conn-fields"].items()
        }


def _base_url(connection: Connection) -> str:
    scheme = (connection.schema or "").lower()
    if scheme not in ("", "http", "https"):
        # Not shown: in a connection written as a URI this is where a misplaced key ends up.
        raise LeadMagicConfigurationError("schema must be https, http or empty; the API key belongs into the password")
    host = (connection.host or "").strip() or DEFAULT_BASE_URL
    return normalize_base_url(host, field="host (API base URL)", scheme=scheme, port=connection.port)


def _timeout(connection: Connection) -> float:
    # Not `extra_dejson`: that turns broken JSON into an empty dictionary, and a set timeout into the default one.
    try:
        value = json.loads(connection.extra or "{}").get("timeout")
    except (ValueError, AttributeError):
        raise LeadMagicConfigurationError("extra must be a JSON object") from None
    return DEFAULT_TIMEOUT if value in (None, "") else parse_timeout("timeout (extra)", value)


def _diagnosis(error: LeadMagicError) -> str:
    """Name the kind of trouble in a few words, where the error's own sentence does not say it."""
    if isinstance(error, LeadMagicConfigurationError):
        return ""
    if isinstance(error, LeadMagicAuthenticationError):
        return "API key rejected: "
    if isinstance(error, LeadMagicPermissionError):
        return "API key not allowed to read the balance: "
    if isinstance(error, LeadMagicConnectionError):
        return "Host unreachable: "
    if isinstance(error, LeadMagicResponseError | LeadMagicNotFoundError):
        return "Not LeadMagic's API: "
    return "LeadMagic cannot respond now: " if error.transient else "LeadMagic refused: "
