"""The formats of files, told by their suffix."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from airflow_provider_leadmagic.api.text import clean

if TYPE_CHECKING:
    from airflow_provider_leadmagic.bulk.places import Place

Format = Literal["csv", "jsonl"]

FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def format_of(argument: str, place: Place) -> Format:
    """
    Tell the format of a file.

    :param argument: Name of the argument, for the message.
    :param place: Where the file is.
    :raises ValueError: If its name ends in none of the suffixes we know.
    """
    suffix = PurePath(place.name).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{argument} must end in {', '.join(FORMATS)} to tell its format; got {clean(place.text)}")
    return FORMATS[suffix]
