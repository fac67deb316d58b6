"""Loopback servers that replace StatsD, an OpenTelemetry collector, and an OpenLineage backend."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


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


class _HttpListener:
    """Passes the body of each POST request to a function."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receive(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port = self._server.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class LineageBackend:
    """Receives OpenLineage events by HTTP."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._listener = _HttpListener(lambda body: self.events.append(json.loads(body)))

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.stop()

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables that make Airflow send its events here."""
        transport = {"type": "http", "url": f"http://127.0.0.1:{self._listener.port}", "endpoint": "api/v1/lineage"}
        return {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)}


class Collector:
    """Receives metrics by OTLP over HTTP, as protobuf."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._listener = _HttpListener(self.receive)

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.stop()

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables that make Airflow send its metrics here, once a minute and when a process exits."""
        return {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__OTEL_PORT": str(self._listener.port),
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
