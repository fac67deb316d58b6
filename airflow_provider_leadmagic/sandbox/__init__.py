"""A LeadMagic API on this machine: for demos, tests and users' own DAG tests, without spending a credit."""

from __future__ import annotations
