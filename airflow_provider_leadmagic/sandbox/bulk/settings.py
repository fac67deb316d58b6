"""How bulk jobs run: for tests to say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

SubmitNeeds = Literal["one_row", "all_rows"]
RowsPerSecond = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class BulkSettings:
    """
    How fast jobs are, and when one is refused.

    :param rows_per_second: of all jobs together; ``None`` is as fast as anybody can look.
    :param paused_clock: whether jobs go on only when they are told to, by so many rows.
    :param submit_needs: what must be spendable for a job to be taken: the price of one hit, or of a hit in every row.
        LeadMagic pauses a job when the credits run out, so it takes jobs that they do not cover: hence the default.
    """

    rows_per_second: RowsPerSecond = None
    paused_clock: bool = False
    submit_needs: SubmitNeeds = "one_row"
