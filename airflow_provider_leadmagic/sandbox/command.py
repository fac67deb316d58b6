"""
The console script ``leadmagic-sandbox``, also available as ``airflow leadmagic sandbox``.

Every ``airflow`` command imports this module to register the options, so FastAPI and uvicorn are imported only when a
sandbox is started.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.sandbox import load_sandbox
from airflow_provider_leadmagic.sandbox.account import DEFAULT_API_KEY, DEFAULT_CREDITS, to_credits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

DEFAULT_PORT = 4010


def _credits(text: str) -> Decimal:
    try:
        return to_credits(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _host_name(text: str) -> str:
    if not text.isascii() or {*":/@ "} & {*text} or not text:
        raise argparse.ArgumentTypeError(f"must be a host name, without scheme and port; got {text!r}")
    return text


#: The options of the command, for argparse and for Airflow's command line.
OPTIONS: dict[str, dict[str, Any]] = {
    "--host": {"default": "127.0.0.1", "help": "address to listen on (default: %(default)s)"},
    "--allow-host": {
        "type": _host_name,
        "action": "append",
        "metavar": "NAME",
        "help": "also serve requests to this host name, for example the name of a container; can be repeated",
    },
    "--port": {
        "type": int,
        "default": DEFAULT_PORT,
        "help": "port to listen on; 0 picks a free port (default: %(default)s)",
    },
    "--credits": {"type": _credits, "default": DEFAULT_CREDITS, "help": "initial balance (default: %(default)s)"},
    "--api-key": {"default": DEFAULT_API_KEY, "help": "API key that the sandbox accepts (default: %(default)s)"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the console script: serve a sandbox until Ctrl-C or SIGTERM.

    :param argv: Command line arguments; ``sys.argv[1:]`` by default.
    :return: The exit code: 0, or 1 if the sandbox cannot start.
    """
    return serve(_parser().parse_args(argv))


def sandbox(options: argparse.Namespace) -> None:
    """
    Run ``airflow leadmagic sandbox``, then exit the process, because Airflow ignores a returned exit code.

    :param options: The parsed values of ``OPTIONS``.
    """
    sys.exit(serve(options))


def serve(options: argparse.Namespace) -> int:
    """
    Serve a sandbox until Ctrl-C or SIGTERM.

    :param options: The parsed values of ``OPTIONS``.
    :return: The exit code: 0, or 1 if the sandbox cannot start.
    """
    stopped = _stop_event_on_signal()
    try:
        allow_hosts = options.allow_host or ()
        server = load_sandbox()(options.credits, options.api_key, options.port, options.host, allow_hosts)
        server.start()
    except (ImportError, OSError, OverflowError) as error:
        sys.stderr.write(f"leadmagic-sandbox: cannot start on {options.host}:{options.port}: {error}\n")
        return 1
    _print_address(server)
    stopped.wait()
    server.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leadmagic-sandbox", description="Serve a local stand-in for LeadMagic's API. It spends no real credits."
    )
    for flag, properties in OPTIONS.items():
        parser.add_argument(flag, **properties)
    return parser


def _stop_event_on_signal() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _print_address(server: Sandbox) -> None:
    sys.stdout.write(
        f"LeadMagic sandbox running on {server.url}. To use it in Airflow, set "
        f"AIRFLOW_CONN_LEADMAGIC_DEFAULT='{server.connection_json}'\n"
    )
    sys.stdout.flush()
