"""The name under which LeadMagic shows a job: it tells a later try which order it is, and of which rows."""

from __future__ import annotations


def job_name(idempotency_key: str, digest: str) -> str:
    """
    Name a job.

    :param idempotency_key: The key of the order.
    :param digest: Of the rows.
    """
    return f"{idempotency_key}.{digest}"


def is_order(name: str | None, idempotency_key: str) -> bool:
    """
    Tell whether a job is that of an order.

    :param name: The job's name.
    :param idempotency_key: The key of the order.
    """
    return name is not None and name.startswith(f"{idempotency_key}.")


def digest_in(name: str | None) -> str | None:
    """
    Tell of which rows a job is.

    :param name: The job's name.
    :return: The digest; None if the name is none of ours, or LeadMagic did not keep it.
    """
    prefix, _, digest = (name or "").partition(".")
    return digest if digest and prefix.startswith("airflow-") else None
