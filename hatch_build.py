"""Build hook that makes the README's relative links absolute, because they do not work on the package index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class AbsoluteLinks(MetadataHookInterface):
    """Hatch metadata hook that sets the project description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description to the README with absolute links."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, metadata["urls"]["Source"])}


def absolute(text: str, repository: str) -> str:
    """
    Make relative links in a Markdown text absolute.

    :param text: The README; links that consist of an anchor only refer to it.
    :param repository: URL of the repository, whose front page shows the README.
    """
    text = re.sub(r"\]\(#", f"]({repository}#", text)
    return re.sub(r"\]\((?!\w+:)", f"]({repository}/blob/main/", text)
