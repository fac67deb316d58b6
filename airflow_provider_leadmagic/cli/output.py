"""How results are written to standard output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType


def write_json(value: dict[str, Any]) -> None:
    """
    Write JSON that every reader can take.

    :param value: What to write; NaN and infinity in it become null.
    """
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    sys.stdout.write(f"{json.dumps(plain, indent=2)}\n")


def write(*parts: RenderableType) -> None:
    """
    Write text and tables.

    :param parts: What to write, one below the other.
    """
    # LeadMagic's text is shown as it is, brackets and colons included. Colour would give empty bars a full track.
    console = Console(markup=False, emoji=False, highlight=False, no_color=True)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text.encode(encoding, 'replace').decode(encoding)}\n")
