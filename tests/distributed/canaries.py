"""API keys that must not leak, one for each place where a key is allowed or expected."""

from __future__ import annotations

#: Key of the connections in environment variables.
CANARY = "canary-key-that-nobody-must-ever-see"
#: A key that LeadMagic rejects.
WRONG_CANARY = "wrong-canary-key-that-nobody-must-see-either"
#: Key of the only connection in Airflow's database, in which nothing is encrypted during the tests.
STORED_CANARY = "stored-canary-key-that-one-table-holds"
#: Key of a connection that a task logs, to prove that the search would find a key in a log.
LOGGED_CANARY = "logged-canary-key-that-one-log-holds"
