"""Traces across processes: a span here, its `traceparent` in messages and rows, the next span there.

Nothing is exported unless the config says so; spans are made all the same, so that every message carries its trace.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.trace import Link, Span, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

AttributeValue = str | int | float | bool

_PROPAGATOR = TraceContextTextMapPropagator()
_provider: TracerProvider | None = None


def configure_tracing(traces: Literal["off", "console"] = "off", *, role: str = "distributor") -> None:
    """Makes this process's tracer; `console` writes finished spans to stderr. The first call counts."""
    global _provider
    if _provider is not None:
        return
    _provider = TracerProvider(resource=Resource.create({SERVICE_NAME: f"distributor-{role}"}), shutdown_on_exit=True)
    if traces == "console":
        _provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=sys.stderr)))


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    traceparent: str | None = None,
    links: Iterable[str | None] = (),
) -> Iterator[Span]:
    """A span, current inside the block. `traceparent` continues another's trace; `links` only point at others'.

    An exception that leaves the block marks the span as failed.
    """
    tracer = _provider.get_tracer("distributor") if _provider else trace.get_tracer("distributor")
    with tracer.start_as_current_span(
        name,
        context=_context(traceparent),
        attributes=dict(attributes or {}),
        links=[Link(trace.get_current_span(_context(link)).get_span_context()) for link in links if link],
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, str(error)))
            raise


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the current span; None outside of any."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


def _context(traceparent: str | None) -> Context | None:
    return _PROPAGATOR.extract({"traceparent": traceparent}) if traceparent else None
