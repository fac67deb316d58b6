"""The search for secrets sees through what hides them in a database dump and in a broker."""

from __future__ import annotations

import base64
import json

import pytest

from tests.distributed.searched_text import laid_open

SECRET = "canary-key-that-nobody-must-ever-see"


def in_a_message(padding: int) -> str:
    """As kombu sends it: JSON in base64 in JSON, and that as redis-cli prints it."""
    body = base64.b64encode(json.dumps({"padding": "x" * padding, "key": SECRET}).encode()).decode()
    return json.dumps(json.dumps({"body": body, "content-encoding": "utf-8"}))


@pytest.mark.parametrize("padding", range(4))
def test_it_sees_into_messages_of_celery(padding: int) -> None:
    message = in_a_message(padding)

    assert SECRET not in message
    assert SECRET in laid_open(message)


@pytest.mark.parametrize("prefix", ["\\x", "\\\\x"])
def test_it_sees_into_columns_of_bytes(prefix: str) -> None:
    dumped = f"1\t{prefix}{b'pickled '.hex()}{SECRET.encode().hex()}\t2"

    assert SECRET in laid_open(dumped)


def test_it_sees_plain_text_too() -> None:
    assert SECRET in laid_open(f"a {SECRET} b")
