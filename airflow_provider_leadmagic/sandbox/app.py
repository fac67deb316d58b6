"""
The FastAPI application: all routes, and the middleware that logs, breaks and authenticates requests to the API.

For each request the middleware adds an entry to the request log, applies a queued fault if one matches, checks the API
key or the job's token, and adds headers to the response. Requests to the controls under ``/_sandbox`` bypass it.

Before that, requests from web pages in a user's browser that could read or change something are refused. With DNS
rebinding, a page can point its own host name to the sandbox and count as same-site. So every path refuses a ``Host``
that is neither an IP address, which cannot be rebound, nor a name of the sandbox. Web pages without DNS rebinding are
refused at the controls only. On the API's paths they lack authentication anyway: they do not know a job's token, and
browsers do not let another site send the API key in a header.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from airflow_provider_leadmagic import __version__
from airflow_provider_leadmagic.sandbox.errors import (
    CROSS_SITE_REQUEST,
    INTERNAL_ERROR,
    INVALID_API_KEY,
    JSON_REQUIRED,
    MISSING_AUTHENTICATION,
    ApiError,
    Problem,
    ProblemResponse,
    problem_for_status,
    unknown_host,
    validation_error,
)
from airflow_provider_leadmagic.sandbox.faults import response_for_fault
from airflow_provider_leadmagic.sandbox.request_bodies import summarize_errors
from airflow_provider_leadmagic.sandbox.routes.analytics import analytics_router
from airflow_provider_leadmagic.sandbox.routes.bulk import bulk_router
from airflow_provider_leadmagic.sandbox.routes.control import CONTROL_PREFIX, control_router
from airflow_provider_leadmagic.sandbox.routes.lookups import credits_router, lookups_router
from airflow_provider_leadmagic.sandbox.server import drop_connection, lose_response, truncating

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs
    from airflow_provider_leadmagic.sandbox.faults import Fault
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest
    from airflow_provider_leadmagic.sandbox.state import SandboxState

ROUTERS = (credits_router, analytics_router, lookups_router, bulk_router, control_router)
KEY_HEADER = "X-API-Key"
JOB_READS = re.compile(r"/bulk/jobs/([^/]+)(?:/(?:results|errors|download|progress))?")
PROGRESS = "/bulk/progress"

logger = logging.getLogger(__name__)


def create_app(state: SandboxState, hosts: Collection[str] = ()) -> FastAPI:
    """
    Build the application that serves one sandbox.

    :param state: The state that its routes read and change.
    :param hosts: The names of this sandbox, in lower case, besides localhost and all IP addresses.
    """
    # The API has no schema endpoint and does not redirect a trailing slash.
    app = FastAPI(title="LeadMagic sandbox", version=__version__, openapi_url=None, redirect_slashes=False)
    for build_router in ROUTERS:
        app.include_router(build_router(state))
    app.exception_handler(ApiError)(_respond_to_api_error)
    app.exception_handler(HTTPException)(_respond_to_http_error)
    app.exception_handler(RequestValidationError)(_respond_to_invalid_control)
    app.add_middleware(ApiMiddleware, state=state)
    app.add_middleware(WebPageMiddleware, hosts={"localhost", *hosts})
    return app


async def _respond_to_api_error(request: Request, error: ApiError) -> Response:
    return ProblemResponse(error.problem, request.state.request_id)


async def _respond_to_http_error(request: Request, error: HTTPException) -> Response:
    return ProblemResponse(problem_for_status(error.status_code), request.state.request_id, headers=error.headers)


async def _respond_to_invalid_control(request: Request, error: RequestValidationError) -> Response:
    # Raised for controls only: the routes of the API parse their bodies themselves.
    problem = validation_error(summarize_errors(error.errors()), status=422)
    return ProblemResponse(problem, request.state.request_id)


class WebPageMiddleware:
    """Refuse unknown host names, and requests of other sites to controls, before they are logged or use up a fault."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give a request its ID, then pass it on or refuse it."""
        request_id = scope.setdefault("state", {})["request_id"] = str(uuid4())
        refusal = self._refusal(Headers(scope=scope), is_control=_is_control(scope))
        app = ProblemResponse(refusal, request_id) if refusal else self._app
        await app(scope, receive, send)

    def _refusal(self, headers: Headers, *, is_control: bool) -> Problem | None:
        host = _host_name(headers)
        if not (host in self._hosts or _is_ip_address(host)):
            return unknown_host(host)
        if is_control and _is_cross_site(headers):
            return CROSS_SITE_REQUEST
        # Some versions of FastAPI parse a body without a Content-Type, which any web page can send.
        return JSON_REQUIRED if is_control and _has_body(headers) and not _is_json(headers) else None


def _is_control(scope: Scope) -> bool:
    return str(scope["path"]).startswith(f"{CONTROL_PREFIX}/")


def _host_name(headers: Headers) -> str:
    try:
        return urlsplit(f"//{headers.get('Host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_cross_site(headers: Headers) -> bool:
    own = f"http://{headers['Host']}"
    return headers.get("Origin", own) != own or headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _has_body(headers: Headers) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def _is_json(headers: Headers) -> bool:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower() == "application/json"


class ApiMiddleware:
    """Log, break and authenticate the requests to the API. Requests to the controls bypass it."""

    def __init__(self, app: ASGIApp, state: SandboxState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to its route, or respond in place of the route."""
        if _is_control(scope):
            await self._app(scope, receive, send)
            return
        entry = self._log(scope)
        fault = self._state.faults.take(scope["path"])
        if fault and await self._must_drop(fault):
            await drop_connection(scope, receive)
            return
        app = self._choose_app(scope, fault)
        if fault and fault.lose_response:
            await lose_response(app, scope, receive)
            return
        if fault and fault.truncate:
            send = truncating(send, scope, receive)
        await app(scope, receive, self._adding_headers(send, scope, entry, fault))

    async def _must_drop(self, fault: Fault) -> bool:
        generation = self._state.generation
        await asyncio.sleep(fault.delay)
        # After a reset, drop the requests of the previous test, so that they do not spend the credits of the next.
        return fault.drop or generation != self._state.generation

    def _log(self, scope: Scope) -> LoggedRequest:
        headers = Headers(scope=scope)
        return self._state.requests.arrived(
            scope["method"], scope["path"], api_key_sent=KEY_HEADER in headers, user_agent=headers.get("User-Agent")
        )

    def _choose_app(self, scope: Scope, fault: Fault | None) -> ASGIApp:
        request_id = scope["state"]["request_id"]
        if fault and (response := response_for_fault(fault, request_id)):
            return response
        if rejection := self._rejection(scope):
            return ProblemResponse(rejection, request_id)
        return self._serve

    def _rejection(self, scope: Scope) -> Problem | None:
        if _has_job_token(scope, self._state.bulk):
            return None
        key = Headers(scope=scope).get(KEY_HEADER)
        if not key:
            return MISSING_AUTHENTICATION
        return None if self._state.account.accepts(key) else INVALID_API_KEY

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            logger.info("The client disconnected before it had sent the body of %s", scope["path"])
        except Exception:
            # FastAPI runs an exception handler for Exception outside all middleware, so the headers would be missing.
            logger.exception("Bug in the sandbox: unhandled exception while serving %s", scope["path"])
            await ProblemResponse(INTERNAL_ERROR, scope["state"]["request_id"])(scope, receive, send)

    def _adding_headers(self, send: Send, scope: Scope, entry: LoggedRequest, fault: Fault | None) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                MutableHeaders(scope=message).update(self._headers(scope, fault))
            await send(message)

        return send_with_headers

    def _headers(self, scope: Scope, fault: Fault | None) -> dict[str, str]:
        headers: dict[str, str] = {}
        if not (fault and fault.is_foreign):
            headers["X-Request-Id"] = scope["state"]["request_id"]
            if not self._rejection(scope):
                headers["X-Credits-Remaining"] = f"{self._state.account.credits:.2f}"
        return headers | (fault.extra_headers if fault else {})


def _has_job_token(scope: Scope, jobs: BulkJobs) -> bool:
    # A token replaces the API key only in requests that read its job.
    if scope["method"] != "GET":
        return False
    query = QueryParams(scope["query_string"])
    job_id = _job_id(scope["path"], query)
    return job_id is not None and jobs.accepts_token(query.get("token", ""), job_id)


def _job_id(path: str, query: QueryParams) -> str | None:
    if path == PROGRESS:
        return query.get("jobId")
    match = JOB_READS.fullmatch(path)
    return match[1] if match else None
