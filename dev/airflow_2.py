"""
Calls the functions of Airflow 2 that its web interface calls. One process serves all calls, because each
``airflow`` command would take seconds to start.

:class:`dev.local_airflow.LocalAirflow` starts this file. Each line of standard input is a function of this module and
its arguments, as a JSON list. The response is a line of JSON: null, or a traceback.
"""

from __future__ import annotations

import json
import sys
import traceback
from contextlib import redirect_stdout

with redirect_stdout(sys.stderr):  # Airflow logs to standard output, which is for the responses
    from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.models.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance, clear_task_instances
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState


def trigger(dag_id: str, run_id: str) -> None:
    """Trigger a run of a DAG."""
    trigger_dag(dag_id, run_id=run_id)


def mark(dag_id: str, run_id: str, task_id: str, state: str) -> None:
    """Mark a task as failed or success."""
    dag = DagBag(read_dags_from_db=True).get_dag(dag_id)
    dag.set_task_instance_state(task_id=task_id, run_id=run_id, state=TaskInstanceState(state), commit=True)


def fail_run(dag_id: str, run_id: str) -> None:
    """Mark a run as failed."""
    set_dag_run_state_to_failed(dag=DagBag(read_dags_from_db=True).get_dag(dag_id), run_id=run_id, commit=True)


def clear(dag_id: str, run_id: str, task_id: str) -> None:
    """Clear a task."""
    dag = DagBag(read_dags_from_db=True).get_dag(dag_id)
    with create_session() as session:
        tasks = session.query(TaskInstance).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id).all()
        clear_task_instances(tasks, session, dag=dag)


if __name__ == "__main__":
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        error = None
        try:
            with redirect_stdout(sys.stderr):
                globals()[name](*arguments)
        except Exception:
            error = traceback.format_exc()
        print(json.dumps(error), flush=True)
