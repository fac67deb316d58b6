"""Run Airflow's ``TriggerRunner`` in a separate process, and measure it while up to a thousand triggers wait in it."""
