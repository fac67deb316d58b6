"""What an exchange failed of, and whether the request had been sent by then: if not, also a paid one is made again."""

from __future__ import annotations

import ssl
from http.client import HTTPException, LineTooLong

import requests
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from airflow_provider_leadmagic.exceptions import LeadMagicConnectionError, LeadMagicError, LeadMagicResponseError


def explain(
    call: str, error: Exception, unrelated: BaseException | None, timeouts: tuple[float, float], slow: str
) -> LeadMagicError:
    """
    Find the error of ours that stands for one of the HTTP libraries.

    :param call: What was called.
    :param error: Theirs.
    :param unrelated: What the caller was handling before. To Python that is the context of the failure, but it is no
        cause of it: an earlier failure to connect says nothing about this request.
    :param timeouts: Seconds that connecting, and the answer, may take.
    :param slow: What took too long, if the answer had begun.
    """
    chain = _causes(error, unrelated)
    if unconnected := _unconnected(chain, timeouts[0]):
        return LeadMagicConnectionError(f"{call} got no answer: {unconnected}", request_sent=False)
    if any(map(_is_oversized, chain)):
        return LeadMagicResponseError(f"{call} was answered with headers that are too long or too many", transient=True)
    if any(isinstance(cause, ReadTimeoutError | TimeoutError) for cause in chain):
        reason = f"complete answer: {slow}" if slow else f"answer: none within {timeouts[1]:g} s"
        return LeadMagicConnectionError(f"{call} got no {reason}")
    return LeadMagicConnectionError(f"{call} got no answer: {_last_words(chain)}")


def _is_oversized(cause: BaseException) -> bool:
    # The plain exception is how http.client refuses more than a hundred headers.
    return isinstance(cause, LineTooLong) or type(cause) is HTTPException


def _unconnected(chain: list[BaseException], timeout: float) -> str | None:
    """Say why there was no connection that a request could have been sent by; None if there was one."""
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate cannot be trusted ({cause.verify_message.rstrip('.')})"
        # There is no class for this one; unrecognized, it counts as any other timeout.
        is_handshake = isinstance(cause, TimeoutError) and "handshake" in str(cause)
        if is_handshake or isinstance(cause, requests.ConnectTimeout):
            return f"no connection within {timeout:g} s"
        if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed"):
            return "the proxy does not connect to it"
    return _last_words(chain) if any(isinstance(cause, NewConnectionError) for cause in chain) else None


def _last_words(chain: list[BaseException]) -> str:
    return next((e.strerror for e in chain if isinstance(e, OSError) and e.strerror), type(chain[-1]).__name__)


def _causes(error: BaseException | None, unrelated: BaseException | None) -> list[BaseException]:
    """Follow an error down to its root, through the wrappers of requests and urllib3."""
    chain: list[BaseException] = []
    while error is not None and error is not unrelated and error not in chain:
        chain.append(error)
        wrapped = (each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException))
        error = next(wrapped, None) or error.__cause__ or error.__context__
    return chain
