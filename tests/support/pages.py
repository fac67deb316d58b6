"""The Markdown pages of the repository: their code, headings and links."""

from __future__ import annotations

import re

from tests.support.airflow_home import REPOSITORY

#: Of the folders that start with a dot, only .github contains pages of this repository.
_PATTERNS = ("*.md", "[!.]*/**/*.md", ".github/**/*.md")
PAGES = sorted(str(path.relative_to(REPOSITORY)) for pattern in _PATTERNS for path in REPOSITORY.glob(pattern))
DOCS = [page for page in PAGES if page.startswith("docs/")]

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def python_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)


def block_with(page: str, fragment: str) -> str:
    """Return the one Python block that contains a fragment."""
    [block] = [block for block in python_of(page) if fragment in block]
    return block


def prose_of(page: str) -> str:
    """Return a page without its code blocks."""
    return _FENCED.sub("", text_of(page))


def section_of(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of the second level."""
    return text_of(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def links_of(page: str) -> list[str]:
    """Return the relative links of a page."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(page))
    return sorted({target for target in targets if "://" not in target})


def anchors_of(page: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
