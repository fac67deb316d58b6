"""Describe the files of a bulk enrichment task for OpenLineage."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.bulk.storage import LOCAL_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage

#: Protocols that OpenLineage knows under another name.
_SCHEMES = {"s3a": "s3", "gcs": "gs"}


def lineage_of(input_path: object, result: Mapping[str, Any]) -> OperatorLineage | None:
    """
    Return the files that a task has read and written, with the number of rows in each output file.

    :param input_path: The file with the records; None if they were given as ``rows``.
    :param result: What the task returns.
    :return: None if Airflow's OpenLineage provider is not installed.
    """
    try:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
    except ImportError:
        return None
    inputs = [] if input_path is None else [InputDataset(*dataset_name(str(input_path)))]
    errors = result["failed"] + result["skipped"]
    outputs = []
    for path, rows in ((result["output_path"], result["succeeded"]), (result["errors_path"], errors)):
        facet = statistics.OutputStatisticsOutputDatasetFacet(rowCount=rows)
        outputs.append(OutputDataset(*dataset_name(path), outputFacets={"outputStatistics": facet}))
    return OperatorLineage(inputs=inputs, outputs=outputs)


def dataset_name(location: str) -> tuple[str, str]:
    """
    Return namespace and name of a file, by OpenLineage's naming rules.

    They contain neither the connection, such as ``my_conn`` in ``s3://my_conn@bucket/leads.csv``, nor the query of a
    signed URL.

    :param location: Path or URL.
    """
    scheme, separator, rest = location.partition("://")
    if not separator:
        return "file", os.path.abspath(location)
    authority, _, key = rest.partition("/")
    authority = authority.rpartition("@")[2]
    if scheme in LOCAL_PROTOCOLS:
        return "file", os.path.abspath(f"{authority}/{key}")
    if scheme in ("http", "https"):
        key = key.partition("?")[0]
    return f"{_SCHEMES.get(scheme, scheme)}://{authority}", key
