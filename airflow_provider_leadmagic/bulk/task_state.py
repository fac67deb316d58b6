"""Whether Airflow still waits for a task, or somebody ended it."""

from __future__ import annotations

from typing import Any

#: States of a task that ran and shall not go on. The others are those of one that goes on, here or in another process.
OVER = frozenset({"failed", "success", "skipped", "removed", "upstream_failed", "restarting"})


def state_of(task_instance: Any) -> str | None:
    """
    Ask Airflow for the state of a task instance, as the rest of Airflow sees it.

    :param task_instance: Ours, in a worker or in a triggerer.
    :return: The state; None for one that was cleared.
    """
    if hasattr(task_instance, "current_state"):  # Airflow 2, where tasks may ask the database
        state = task_instance.current_state()
        return None if state is None else str(state)
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    map_index = task_instance.map_index
    states = RuntimeTaskInstance.get_task_states(
        dag_id=task_instance.dag_id,
        run_ids=[task_instance.run_id],
        task_ids=[task_instance.task_id],
        map_index=None if map_index is None or map_index < 0 else map_index,
    )
    return next(iter(states.get(task_instance.run_id, {}).values()), None)
