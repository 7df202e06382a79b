"""A directory for the servers of one test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory that a server of another user can walk to, as pytest's own are not."""
    directory = Path(tempfile.mkdtemp(prefix="distributor-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)
