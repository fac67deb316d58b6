"""Imports of names that moved between Airflow versions."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from airflow_provider_leadmagic import compat
from airflow_provider_leadmagic.compat import imports
from airflow_provider_leadmagic.compat.deferral import get_async_connection
from airflow_provider_leadmagic.compat.imports import BaseHook

FOLDER = Path(compat.__file__).parent
NAMES = sorted({*imports._SOURCES})


@pytest.mark.parametrize("name", NAMES)
def test_this_airflow_has_every_name(name: str) -> None:
    assert getattr(imports, name) is not None


def test_type_checkers_import_the_same_names() -> None:
    [block] = [node for node in ast.parse((FOLDER / "imports.py").read_text()).body if isinstance(node, ast.If)]
    seen = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert seen - {"TaskInstanceKey"} == set(NAMES)  # TaskInstanceKey is used in annotations only


def test_a_name_that_is_not_in_the_table_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="cannot import name 'MissingName'"):
        from airflow_provider_leadmagic.compat.imports import MissingName  # type: ignore[attr-defined]  # noqa: F401


def test_the_xcom_key_equals_airflows_constant() -> None:
    from airflow.models.xcom import XCOM_RETURN_KEY

    assert imports.XCOM_RETURN_KEY == XCOM_RETURN_KEY


@pytest.mark.parametrize("masks_without_blocking", [True, False])
def test_a_connection_is_read_without_blocking_on_every_airflow(
    masks_without_blocking: bool, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SOME_CONNECTION", '{"conn_type": "leadmagic", "host": "example.com"}')
    connection = imports.Connection
    if not masks_without_blocking:
        mocker.patch.object(imports, "Connection", object())
    elif not hasattr(connection, "aextra_dejson"):
        pytest.skip("this Airflow version masks connections with a blocking call")

    assert asyncio.run(get_async_connection(BaseHook, "some_connection")).host == "example.com"
