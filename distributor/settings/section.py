"""What every table of the config file is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the config file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
