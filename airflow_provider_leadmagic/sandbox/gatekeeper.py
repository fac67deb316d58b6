"""What every call passes before its route: the log, the faults, the key; and the headers on the way back."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders

from airflow_provider_leadmagic.sandbox.bulk.tokens import token_admits
from airflow_provider_leadmagic.sandbox.errors import (
    INTERNAL_ERROR,
    INVALID_API_KEY,
    MISSING_AUTHENTICATION,
    Problem,
    ProblemResponse,
)
from airflow_provider_leadmagic.sandbox.faults import response_for_fault
from airflow_provider_leadmagic.sandbox.routes.control import CONTROL_PREFIX
from airflow_provider_leadmagic.sandbox.server import drop_connection, lose_response, truncating

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_leadmagic.sandbox.faults import Fault
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest
    from airflow_provider_leadmagic.sandbox.state import SandboxState

KEY_HEADER = "X-API-Key"

logger = logging.getLogger(__name__)


class Gatekeeper:
    """ASGI middleware around the API's routes; controls pass it untouched."""

    def __init__(self, app: ASGIApp, state: SandboxState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through, or answer it."""
        scope.setdefault("state", {})["request_id"] = str(uuid4())
        if scope["path"].startswith(f"{CONTROL_PREFIX}/"):
            await self._app(scope, receive, send)
            return
        entry = self._log(scope)
        fault = self._state.faults.take(scope["path"])
        if fault and await self._breaks_off(fault):
            await drop_connection(scope, receive)
            return
        answer = self._choose_answer(scope, fault)
        if fault and fault.lose_answer:
            await lose_response(answer, scope, receive)
            return
        if fault and fault.truncate:
            send = truncating(send, scope, receive)
        await answer(scope, receive, self._completing(send, scope, entry, fault))

    async def _breaks_off(self, fault: Fault) -> bool:
        generation = self._state.generation
        await asyncio.sleep(fault.delay)
        # A call that one test left waiting must not spend the credits of the next.
        return fault.drop or generation != self._state.generation

    def _log(self, scope: Scope) -> LoggedRequest:
        headers = Headers(scope=scope)
        return self._state.requests.arrived(
            scope["method"], scope["path"], api_key_sent=KEY_HEADER in headers, user_agent=headers.get("User-Agent")
        )

    def _choose_answer(self, scope: Scope, fault: Fault | None) -> ASGIApp:
        request_id = scope["state"]["request_id"]
        if fault and (answer := response_for_fault(fault, request_id)):
            return answer
        if refusal := self._refusal(scope):
            return ProblemResponse(refusal, request_id)
        return self._serve

    def _refusal(self, scope: Scope) -> Problem | None:
        if token_admits(scope, self._state.bulk):
            return None
        key = Headers(scope=scope).get(KEY_HEADER)
        if not key:
            return MISSING_AUTHENTICATION
        return None if self._state.account.accepts(key) else INVALID_API_KEY

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            # Here and not in an exception handler: FastAPI runs that one outside of all middleware.
            logger.exception("The sandbox itself failed on %s", scope["path"])
            await ProblemResponse(INTERNAL_ERROR, scope["state"]["request_id"])(scope, receive, send)

    def _completing(self, send: Send, scope: Scope, entry: LoggedRequest, fault: Fault | None) -> Send:
        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                MutableHeaders(scope=message).update(self._headers(scope, fault))
            await send(message)

        return send_completed

    def _headers(self, scope: Scope, fault: Fault | None) -> dict[str, str]:
        headers: dict[str, str] = {}
        if not (fault and fault.is_foreign):
            headers["X-Request-Id"] = scope["state"]["request_id"]
            if not self._refusal(scope):
                headers["X-Credits-Remaining"] = f"{self._state.account.credits:.2f}"
        return headers | (fault.extra_headers if fault else {})
