"""The two files that results go to: written under other names, and moved into place when they are complete."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING
from uuid import uuid4

from airflow_provider_leadmagic.api.text import clean
from airflow_provider_leadmagic.bulk.formats import format_of
from airflow_provider_leadmagic.bulk.places import find_place, storage_errors_as
from airflow_provider_leadmagic.bulk.row_writers import WRITERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_leadmagic.bulk.places import Place
    from airflow_provider_leadmagic.bulk.row_writers import RowWriter
    from airflow_provider_leadmagic.bulk.rows import RowSource


class ResultFiles:
    """
    The file of the rows with a result, and next to it the file of the rows without one.

    The second has ``.errors`` before its suffix: ``leads.csv`` and ``leads.errors.csv``.

    :param output_path: Where results go: a local path or a URL, as text or a path object. Its suffix tells the format.
    :raises ValueError: If it is no path, or its suffix tells no format we write.
    """

    def __init__(self, output_path: object) -> None:
        self._output = find_place("output_path", output_path)
        self._format = format_of("output_path", self._output)
        suffix = PurePath(self._output.name).suffix
        self._errors = self._output.sibling(f"{self._output.name.removesuffix(suffix)}.errors{suffix}")

    @property
    def output_path(self) -> str:
        """Path or URL of the rows with a result."""
        return self._output.text

    @property
    def errors_path(self) -> str:
        """Path or URL of the rows without one."""
        return self._errors.text

    def check_writable(self, source: RowSource | None = None) -> None:
        """
        Find out whether both files can be written, by writing one under another name and removing it.

        :param source: The rows. If they come from one of these very files, that is refused, too.
        :raises ValueError: If one cannot be written; the message says why.
        """
        for place in (self._output, self._errors):
            _refuse_input(place, source)
            with storage_errors_as(_problem(place)):
                if place.is_folder():
                    raise IsADirectoryError
                _try_out(place)

    @contextmanager
    def replaced(
        self, output_columns: Sequence[str], error_columns: Sequence[str]
    ) -> Iterator[tuple[RowWriter, RowWriter]]:
        """
        Write both files anew; the old ones stay until the ``with`` block ends, and for good if it fails.

        :param output_columns: Columns of the rows with a result.
        :param error_columns: Columns of the rows without one.
        :return: The writers of the two.
        :raises ValueError: If one cannot be written.
        """
        with _draft(self._output) as output, _draft(self._errors) as errors:
            with ExitStack() as stack:
                drafts = ((output, self._output), (errors, self._errors))
                output_text, errors_text = (stack.enter_context(_text(*draft)) for draft in drafts)
                writer = WRITERS[self._format]
                yield writer(output_text, output_columns), writer(errors_text, error_columns)
            # In this order: whoever sees the results sees the errors that belong to them.
            for draft, place in ((errors, self._errors), (output, self._output)):
                with storage_errors_as(_problem(place)):
                    draft.move_to(place)


@contextmanager
def _draft(place: Place) -> Iterator[Place]:
    """Find another name for a file to be, and see to it that nothing remains under it."""
    with storage_errors_as(_problem(place)):
        place.remove_siblings(re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{32}}\.part"))
    draft = _draft_of(place)
    try:
        yield draft
    except BaseException:
        draft.remove()
        raise


def _try_out(place: Place) -> None:
    first, second = _draft_of(place), _draft_of(place)
    try:
        first.create().close()
        first.move_to(second)
    finally:
        first.remove()
        second.remove()


def _draft_of(place: Place) -> Place:
    return place.sibling(f".{place.name}.{uuid4().hex}.part")


def _text(draft: Place, place: Place) -> io.TextIOWrapper:
    with storage_errors_as(_problem(place)):
        binary = draft.create()
    # Half of a surrogate pair, which only a server can have sent, is written as JSON would.
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")


def _refuse_input(place: Place, source: RowSource | None) -> None:
    if source is not None and source.place is not None and source.place.identity == place.identity:
        raise ValueError(f"output_path must not lead to the input: {clean(place.text)} would be overwritten")


def _problem(place: Place) -> str:
    return f"output_path cannot be used, as {clean(place.text)} cannot be written"
