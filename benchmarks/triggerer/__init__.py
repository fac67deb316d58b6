"""Run Airflow's ``TriggerRunner`` in a separate process, and measure it while a thousand triggers wait in it."""
