"""Job tokens, which replace the key where a job is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams

if TYPE_CHECKING:
    from starlette.types import Scope

    from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs

JOB_READS = re.compile(r"/bulk/jobs/([^/]+)(?:/(?:results|errors|download|progress))?")
PROGRESS = "/bulk/progress"


def token_admits(scope: Scope, jobs: BulkJobs) -> bool:
    """Tell whether a call reads a job, and has the token of this job with it."""
    if scope["method"] != "GET" or not scope["path"].startswith("/bulk/"):
        return False
    query = QueryParams(scope["query_string"])
    job_id = _job_id(scope["path"], query)
    return job_id is not None and jobs.accepts_token(query.get("token", ""), job_id)


def _job_id(path: str, query: QueryParams) -> str | None:
    if path == PROGRESS:
        return query.get("jobId")
    match = JOB_READS.fullmatch(path)
    return match[1] if match else None
