"""What every table of the config file is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z][a-z0-9_-]{0,39}$"


Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A table of the config file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
