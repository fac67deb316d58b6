"""Script that writes the results of a job and prints the time and memory it took. Run it in its own process."""

from __future__ import annotations

import json
import sys
import time

from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.results import write_results
from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.client import LeadMagicClient
from tests.support.memory import memory, peak_memory


def main(url: str, api_key: str, job_id: str, input_path: str, output_path: str) -> None:
    source, files = row_source(input_path=input_path), ResultFiles(output_path)
    with LeadMagicClient(api_key, url) as client:
        job = client.bulk.get(job_id)
        before, started, cpu = memory(), time.monotonic(), time.process_time()
        written = write_results(client, job, "email_finder", source, files)
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    grown = peak_memory() - before
    print(json.dumps({"succeeded": written.succeeded, "grown": grown, "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main(*sys.argv[1:])
