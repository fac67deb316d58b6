"""What pytest said in a log that several of its runs wrote to."""

from __future__ import annotations

import re
from collections import Counter

_LAST_LINE = re.compile(r"^=+ (\d.*) in [\d.]+s.*=$", re.MULTILINE)
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")
_FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?$", re.MULTILINE)
_TAIL = 15


def counts(log: str) -> Counter[str]:
    """Add up the counts of all runs; a test whose fixture failed is a failed test."""
    total: Counter[str] = Counter()
    for line in _LAST_LINE.findall(log):
        for number, what in _COUNT.findall(line):
            total["failed" if what == "error" else what] += int(number)
    return total


def complaints(log: str) -> tuple[str, ...]:
    """Name the tests that failed; where there are none, something else did, and the last lines say what."""
    return tuple(dict.fromkeys(_FAILED_TEST.findall(log))) or tuple(log.splitlines()[-_TAIL:])
