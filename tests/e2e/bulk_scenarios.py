"""What the bulk jobs of the end-to-end tests go through: one DAG and one LeadMagic account for each story."""

from __future__ import annotations

ROWS = 20

#: Stories whose task waits on the worker. The others wait in the triggerer.
ON_THE_WORKER = (
    "bulk_killed_before_submit",
    "bulk_killed_after_submit",
    "bulk_killed_while_waiting",
    "bulk_killed_while_downloading",
    "bulk_ended_while_running",
)
IN_THE_TRIGGERER = (
    "bulk_triggerer_killed_before_submit",
    "bulk_triggerer_killed_while_waiting",
    "bulk_triggerer_killed_while_paused",
    "bulk_runs_dry",
    "bulk_ended_while_deferred",
)
STORIES = ON_THE_WORKER + IN_THE_TRIGGERER
