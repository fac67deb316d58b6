"""Airflow's runner of triggers in a process of its own, measured while a thousand triggers wait in it."""
