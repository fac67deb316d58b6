"""The application: routes, gatekeeper, error answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from airflow_provider_leadmagic import __version__
from airflow_provider_leadmagic.sandbox.bodies import summarize_errors
from airflow_provider_leadmagic.sandbox.bulk.control import bulk_control_router
from airflow_provider_leadmagic.sandbox.bulk.moves import moves_router
from airflow_provider_leadmagic.sandbox.bulk.preview import preview_router
from airflow_provider_leadmagic.sandbox.credits import credits_router
from airflow_provider_leadmagic.sandbox.errors import ApiError, ProblemResponse, problem_for_status, validation_error
from airflow_provider_leadmagic.sandbox.gatekeeper import Gatekeeper
from airflow_provider_leadmagic.sandbox.routes.analytics import analytics_router
from airflow_provider_leadmagic.sandbox.routes.bulk import bulk_router
from airflow_provider_leadmagic.sandbox.routes.control import control_router
from airflow_provider_leadmagic.sandbox.routes.lookups import enrichment_router

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.state import SandboxState

ROUTERS = (
    credits_router,
    analytics_router,
    enrichment_router,
    preview_router,
    bulk_router,
    moves_router,
    control_router,
    bulk_control_router,
)


def create_app(state: SandboxState) -> FastAPI:
    """
    Build the application that serves one sandbox.

    :param state: what it reads and changes.
    """
    # No schema and no redirects for a trailing slash: the API has neither.
    app = FastAPI(title="LeadMagic sandbox", version=__version__, openapi_url=None, redirect_slashes=False)
    for build_router in ROUTERS:
        app.include_router(build_router(state))
    app.exception_handler(ApiError)(_answer_api_error)
    app.exception_handler(HTTPException)(_answer_http_error)
    app.exception_handler(RequestValidationError)(_answer_bad_control)
    app.add_middleware(Gatekeeper, state=state)
    return app


async def _answer_api_error(request: Request, error: ApiError) -> Response:
    return ProblemResponse(error.problem, request.state.request_id)


async def _answer_http_error(request: Request, error: HTTPException) -> Response:
    return ProblemResponse(problem_for_status(error.status_code), request.state.request_id, headers=error.headers)


async def _answer_bad_control(request: Request, error: RequestValidationError) -> Response:
    # Only the controls declare their bodies to FastAPI.
    return ProblemResponse(validation_error(summarize_errors(error.errors()), status=422), request.state.request_id)
