"""
Configuration of the documentation site: ``make docs``.

The pages stay readable on GitHub: what only the site needs is added while they are read.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_leadmagic import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_REPOSITORY = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The API reference imports Airflow, which writes a configuration file into its home.
os.environ["AIRFLOW_HOME"] = str(_REPOSITORY / ".build" / "airflow-of-docs")

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
copyright = author  # noqa: A001
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
html_theme = "furo"
html_title = f"{project} {release}"
html_theme_options = {
    "source_repository": _PROJECT["urls"]["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
}

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
suppress_warnings = ["misc.highlighting_failure"]  # shell and log output have no language


def setup(app: Sphinx) -> None:
    """Add what only the site needs."""
    app.connect("source-read", _complete)


def _complete(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        source[0] += _navigation(source[0])
    # The files outside of docs/ are not part of the site.
    source[0] = re.sub(r"\]\(\.\./", f"]({_PROJECT['urls']['Source']}/blob/main/", source[0])


def _navigation(index: str) -> str:
    """Return the navigation of the site: the pages of the index, under its headings, and the API reference."""
    sections = [section.partition("\n") for section in index.split("\n## ")[1:]]
    pages = {heading: re.findall(r"\]\(([\w-]+)\.md\)", text) for heading, _, text in sections}
    trees = {**pages, "Reference": ["api"]}
    return "".join(_toctree(caption, names) for caption, names in trees.items())


def _toctree(caption: str, pages: list[str]) -> str:
    return "\n".join(["", "", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])
