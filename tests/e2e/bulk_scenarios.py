"""The scenarios of the end-to-end tests of bulk jobs. Each has its own DAG, connection and LeadMagic account."""

from __future__ import annotations

ROWS = 20

#: Scenarios whose task waits on a worker. The tasks of the others wait in the triggerer.
ON_WORKER = (
    "bulk_killed_before_submit",
    "bulk_killed_after_submit",
    "bulk_killed_while_waiting",
    "bulk_killed_while_downloading",
    "bulk_marked_failed_while_running",
)
IN_TRIGGERER = (
    "bulk_triggerer_killed_before_submit",
    "bulk_triggerer_killed_while_waiting",
    "bulk_triggerer_killed_while_paused",
    "bulk_runs_out_of_credits",
    "bulk_marked_failed_while_deferred",
)
SCENARIOS = ON_WORKER + IN_TRIGGERER
#: Further scenarios whose task waits on a worker. Each test starts its own. In the DAG file, the second has a longer
#: ``retry_delay``, so that its test can clear the task between two attempts, and the third has no retries.
STARTED_BY_THEIR_TEST = (
    "bulk_repeated_submission_refused",
    "bulk_cleared_twice",
    "bulk_results_come_late",
    "bulk_ended_while_leadmagic_is_down",
    "bulk_reports_its_spending",
)
