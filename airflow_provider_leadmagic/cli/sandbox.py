"""The command ``sandbox``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.command import serve

if TYPE_CHECKING:
    from argparse import Namespace


def sandbox(options: Namespace) -> None:
    """
    Do what the console script ``leadmagic-sandbox`` does.

    :param options: The parsed arguments.
    """
    sys.exit(serve(options))
