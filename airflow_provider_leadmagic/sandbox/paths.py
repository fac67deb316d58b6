"""Paths as tests name them."""

from __future__ import annotations

ANY = "*"


def path_fits(wanted: str, path: str) -> bool:
    """
    Tell whether a path is the one that was meant.

    :param wanted: ``*`` for every path, or a path in which ``*`` stands for any one part: an id that is not known yet.
    :param path: the path of a call.
    """
    if wanted == ANY:
        return True
    parts, wanted_parts = path.split("/"), wanted.split("/")
    return len(parts) == len(wanted_parts) and all(
        part in (ANY, given) for part, given in zip(wanted_parts, parts, strict=True)
    )
