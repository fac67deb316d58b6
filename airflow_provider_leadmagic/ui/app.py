"""
Serve the page: GET only, for users who may read the connection, without inline scripts or styles.

Airflow does not authenticate requests to the applications of plugins, so every route here asks its auth manager.
"""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.exceptions import HTTPException

from airflow_provider_leadmagic.compat.auth import GetUserDep, may_read_connections, readable_connections
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.ui.page import FILTERS, Accounts, describe_account, listed_connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

#: Sent with every response. Scripts, styles and images come from this application only.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FILES = {"page.css": "text/css", "page.js": "text/javascript"}
_ADVICE = {
    HTTPStatus.UNAUTHORIZED: "Log in to Airflow, then reload this page.",
    HTTPStatus.FORBIDDEN: "Ask an Airflow administrator for the permission to read the LeadMagic connection.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Reload this page. If it fails again, see the API server's log.",
}

_templates = Environment(
    loader=PackageLoader("airflow_provider_leadmagic.ui"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(FILTERS)

# Starlette would send a redirect that adds or removes a trailing slash even to users without a login.
app = FastAPI(title="LeadMagic", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)


@app.get("/")
def show_page(user: GetUserDep, conn_id: str = "") -> HTMLResponse:
    """
    Show one connection.

    :param user: The user who is logged in.
    :param conn_id: Connection ID; empty for the first one that the user may read.
    """
    listed, default = listed_connections(), LeadMagicHook.default_conn_name
    # Checked before the database is searched for tasks, so that users without the permission cause no load. A
    # connection in a secrets backend is not listed, so the requested one is checked too.
    if not may_read_connections(user) and not readable_connections(user, {*listed, conn_id or default}):
        raise HTTPException(HTTPStatus.FORBIDDEN)
    accounts = Accounts.read(listed)
    readable = sorted(readable_connections(user, accounts.conn_ids), key=lambda name: (name != default, name))
    if conn_id and conn_id not in readable:  # the same response whether it exists or not
        raise HTTPException(HTTPStatus.FORBIDDEN)
    if not readable:
        return _render("no_connection.html")
    chosen = conn_id or readable[0]
    return _render("page.html", conn_ids=readable, **describe_account(accounts, chosen, user))


@app.get("/static/{name}")
def show_file(user: GetUserDep, name: str) -> Response:
    """
    Return the style sheet or the script of the page.

    :param user: The user who is logged in.
    :param name: Name of the file.
    """
    if name not in _FILES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    content = files("airflow_provider_leadmagic.ui").joinpath("static", name).read_bytes()
    return Response(content, media_type=_FILES[name])


@app.get("/{path:path}")
def refuse_path(user: GetUserDep, path: str) -> Response:
    """
    Respond with 404 to users who are logged in. Like every route, respond with 401 to all others.

    :param user: The user who is logged in.
    :param path: A path that does not exist.
    """
    raise HTTPException(HTTPStatus.NOT_FOUND)


@app.exception_handler(HTTPException)
async def show_error(request: Request, error: HTTPException) -> HTMLResponse:
    """
    Show the status and what the user can do about it.

    :param request: The request.
    :param error: The error, with the status of the response.
    """
    return _render_error(HTTPStatus(error.status_code), error.headers)


@app.exception_handler(Exception)
async def show_failure(request: Request, error: Exception) -> HTMLResponse:
    """
    Respond with 500 after an unexpected error, for example of the database. The API server then logs the error.

    :param request: The request.
    :param error: The error, which the response does not show.
    """
    return _render_error(HTTPStatus.INTERNAL_SERVER_ERROR, HEADERS)  # this response bypasses the middleware


@app.middleware("http")
async def add_headers(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
    """
    Add the security headers.

    :param request: The request.
    :param respond: Returns the response to it.
    """
    response = await respond(request)
    response.headers.update(HEADERS)
    return response


def _render(template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(_templates.get_template(template).render(**values))


def _render_error(status: HTTPStatus, headers: Mapping[str, str] | None) -> HTMLResponse:
    page = _templates.get_template("error.html").render(title=status.phrase, advice=_ADVICE.get(status, ""))
    return HTMLResponse(page, status.value, headers)
