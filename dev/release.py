"""
Show what a release uploads, and what is missing for it: the last step of ``make release-dry-run``.

With ``TAG=v0.1.0`` in the environment, as in the release workflow, the exit code is 1 if anything is missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(version: str, tag: str, changelog: str, uncommitted: str) -> list[str]:
    """
    Return what is missing for a release.

    :param version: Version of the package.
    :param tag: Tag of the release; empty if there is none yet.
    :param changelog: Text of CHANGELOG.md.
    :param uncommitted: Output of ``git status --porcelain``.
    """
    found = []
    if tag and tag != f"v{version}":
        found.append(f"the tag is {tag}, but the version is {version}: change __version__ in __init__.py, or the tag")
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading '## {version} (YYYY-MM-DD)': write the date of the release")
    if uncommitted:
        found.append(f"these files differ from the commit: {', '.join(uncommitted.split()[1::2])}")
    return found


def describe(file: Path) -> str:
    """Return the name, size and digest of a distribution."""
    content = file.read_bytes()
    return f"{file.name}  {len(content):,} bytes  sha256:{hashlib.sha256(content).hexdigest()}"


def main(tag: str) -> int:
    """
    Print the distributions in dist/ and what is missing.

    :param tag: Tag of the release; empty if there is none yet.
    :return: The exit code.
    """
    files = sorted((ROOT / "dist").iterdir())
    version = files[0].name.split("-")[1]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    git = ["git", "status", "--porcelain"]
    missing = problems(version, tag, changelog, subprocess.check_output(git, cwd=ROOT, text=True))
    print(f"A release of {version} uploads:", *map(describe, files), sep="\n  ")
    print("Nothing is missing for it." if not missing else "\n  ".join(["Missing for it:", *missing]))
    return int(bool(tag and missing))


if __name__ == "__main__":
    sys.exit(main(os.environ.get("TAG", "")))
