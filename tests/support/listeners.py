"""Loopback servers that replace StatsD and an OpenTelemetry collector."""

from __future__ import annotations

import gzip
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Statsd:
    """Receives metrics by UDP. On loopback they are available as soon as the sender's call returns."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables that make Airflow send its metrics here, with tags."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    @property
    def lines(self) -> list[str]:
        """LeadMagic metrics received so far, oldest first."""
        with suppress(BlockingIOError):
            while datagram := self._socket.recv(65536):
                self._lines += [line for line in datagram.decode().splitlines() if ".leadmagic." in line]
        return self._lines


@dataclass(frozen=True)
class Point:
    """One value that was received by OTLP."""

    name: str
    kind: str
    value: float
    tags: dict[str, str]
    is_monotonic: bool


class Collector:
    """Receives metrics by OTLP over HTTP, as protobuf."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.receive(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables that make Airflow send its metrics here, once a minute and when a process exits."""
        return {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__OTEL_PORT": str(self._server.server_address[1]),
            "AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS": "60000",
        }

    def receive(self, body: bytes) -> None:
        """Parse one message and append its values to ``points``."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.points += _points(metric)


def _points(metric: Any) -> list[Point]:
    kind = metric.WhichOneof("data")
    return [
        Point(
            name=metric.name,
            kind=kind,
            value=getattr(point, point.WhichOneof("value")),
            tags={tag.key: tag.value.string_value for tag in point.attributes},
            is_monotonic=getattr(metric.sum, "is_monotonic", False),
        )
        for point in getattr(metric, kind).data_points
        if ".leadmagic." in metric.name
    ]
