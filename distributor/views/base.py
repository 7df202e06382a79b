"""What every document is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """A document, or an object inside one. Every field is described: docs/cli.md and the HTTP API tell it from here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
