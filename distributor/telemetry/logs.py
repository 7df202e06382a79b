"""Logs: configured once per process, always on stderr, so that stdout stays the command's answer."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger, Processor

# What they call errors are attempts to reach a broker that is away: those who use them say so, once, and in a sentence.
_BROKER_DRIVERS = ("aio_pika", "aiormq", "pika")

LogFormat = Literal["auto", "json", "console"]


def configure_logs(log_format: LogFormat = "auto", log_level: str = "info") -> None:
    """One line per event: for eyes on a terminal, as JSON otherwise. `log_level` is the least severe level shown."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ends: list[Processor] = (
        # The prettier formatter shows local variables: connection URLs with their passwords are among them.
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    level = logging.getLevelNamesMapping()[log_level.upper()]
    structlog.configure(
        processors=[*shared, *ends],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in _BROKER_DRIVERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Drivers speak through the standard library; what they say below a warning is of no use to an operator.
    logging.basicConfig(
        stream=sys.stderr, level=max(level, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )


def bind(*, role: str | None = None, environment: str | None = None, system: str | None = None) -> None:
    """Adds fields to every line that this thread or task writes from now on."""
    fields = {"role": role, "environment": environment, "system": system}
    bind_contextvars(**{name: value for name, value in fields.items() if value is not None})


def logger(name: str) -> FilteringBoundLogger:
    """A logger; `name` tells the part of the service."""
    bound: FilteringBoundLogger = structlog.get_logger(part=name)
    return bound
