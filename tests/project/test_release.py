"""What is checked before a release: the tag, the version and its date in the changelog, and that all is committed."""

from __future__ import annotations

import pytest

from dev.release import problems

CHANGELOG = "# Changelog\n\n## 1.2.0 (2026-12-01)\n\n## 1.1.0 (unreleased)\n"


@pytest.mark.parametrize("tag", ["", "v1.2.0"])
def test_a_complete_release_has_no_problems(tag: str) -> None:
    assert problems("1.2.0", tag, CHANGELOG, "") == []


@pytest.mark.parametrize(
    ("version", "tag", "uncommitted", "problem"),
    [
        ("1.2.0", "v1.2.1", "", "the tag is v1.2.1, but the version is 1.2.0"),
        ("1.2.0", "1.2.0", "", "the tag is 1.2.0, but the version is 1.2.0"),
        ("1.1.0", "v1.1.0", "", "CHANGELOG.md has no heading '## 1.1.0 (YYYY-MM-DD)'"),
        ("1.2", "v1.2", "", "CHANGELOG.md has no heading '## 1.2 (YYYY-MM-DD)'"),
        ("1.2.0", "", " M README.md\n?? notes.txt\n", "these files differ from the commit: README.md, notes.txt"),
    ],
)
def test_what_is_missing_is_named(version: str, tag: str, uncommitted: str, problem: str) -> None:
    [found] = problems(version, tag, CHANGELOG, uncommitted)

    assert found.startswith(problem)
