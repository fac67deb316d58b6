"""Fixtures for the tests of the commands."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_provider_leadmagic.__main__ import main
from tests.unit.conftest import CANARY

if TYPE_CHECKING:
    from collections.abc import Callable


class Outcome(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error, without its prefix."""
        [line] = self.err.splitlines()
        return line.removeprefix("leadmagic: ")


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, leadmagic_sandbox: Any
) -> Callable[..., Outcome]:
    """Return a function that runs a command, and checks that its output contains no API key."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "")  # a command sets it, and monkeypatch restores it
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: object, encoding: str = "utf-8") -> Outcome:
        output = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True)
        capsys.readouterr()  # drop what Airflow 2 logged to standard output while the test prepared its database
        monkeypatch.setattr(sys, "stdout", output)  # here, because pytest replaces it after the fixture
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        output.seek(0)
        captured = capsys.readouterr()
        outcome = Outcome(ended.value.code, output.read() + captured.out, captured.err)
        assert leadmagic_sandbox.api_key not in outcome.out + outcome.err
        assert CANARY not in outcome.out + outcome.err
        return outcome

    return run
