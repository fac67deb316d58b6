"""Keys that nobody must ever see, one for each place where a key may be, or may not."""

from __future__ import annotations

#: Of all connections in environment variables.
CANARY = "canary-key-that-nobody-must-ever-see"
#: What LeadMagic refuses.
WRONG_CANARY = "wrong-canary-key-that-nobody-must-see-either"
#: Of the one connection that Airflow keeps in its database, where nothing is encrypted during the tests.
STORED_CANARY = "stored-canary-key-that-one-table-holds"
#: Of the one connection whose key a task writes to its log, to prove that it would be found there.
SPOKEN_CANARY = "spoken-canary-key-that-one-log-holds"
