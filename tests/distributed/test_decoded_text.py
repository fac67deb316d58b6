"""The search for secrets decodes what a database dump and a message broker encode."""

from __future__ import annotations

import base64
import json

import pytest

from tests.distributed.decoded_text import with_decoded_parts

SECRET = "canary-key-that-nobody-must-ever-see"


def in_a_message(padding: int) -> str:
    """Encode as kombu does, JSON in base64 in JSON, and quote the result as redis-cli does."""
    body = base64.b64encode(json.dumps({"padding": "x" * padding, "key": SECRET}).encode()).decode()
    return json.dumps(json.dumps({"body": body, "content-encoding": "utf-8"}))


@pytest.mark.parametrize("padding", range(4))
def test_celery_messages_are_decoded(padding: int) -> None:
    message = in_a_message(padding)

    assert SECRET not in message
    assert SECRET in with_decoded_parts(message)


@pytest.mark.parametrize("prefix", ["\\x", "\\\\x"])
def test_columns_of_bytes_are_decoded(prefix: str) -> None:
    dumped = f"1\t{prefix}{b'pickled '.hex()}{SECRET.encode().hex()}\t2"

    assert SECRET in with_decoded_parts(dumped)


def test_plain_text_is_kept() -> None:
    assert SECRET in with_decoded_parts(f"a {SECRET} b")
