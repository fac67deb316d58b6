"""What is made of the README for the package index, which shows it on a page where no relative link leads anywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class AbsoluteLinks(MetadataHookInterface):
    """Hatch's metadata hook."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Have every relative link of the README lead into the repository."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, metadata["urls"]["Source"])}


def absolute(text: str, repository: str) -> str:
    """
    Make relative links absolute.

    :param text: Markdown.
    :param repository: Address of the repository, whose first page shows the README: anchors are looked for there.
    """
    text = re.sub(r"\]\(#", f"]({repository}#", text)
    return re.sub(r"\]\((?!\w+:)", f"]({repository}/blob/main/", text)
