"""The log view of Airflow's UI, in which the first words of a message must suffice."""

#: Characters of a line that are visible: the rest is cut, not wrapped.
from __future__ import annotations

LINE_LENGTH = 110
