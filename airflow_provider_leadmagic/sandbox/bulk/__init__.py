"""Bulk jobs: many lookups in one order, done one by one and charged one by one."""

from __future__ import annotations
