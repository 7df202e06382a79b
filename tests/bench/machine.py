"""What a figure was measured on, in words that leave out whose machine it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_GIB = 1 << 30


def machine() -> str:
    """Processor, cores, memory, system and Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory,"
        f" {platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def load_average() -> float:
    """How many processes wanted a core in the last minute: what the figures had to share the machine with."""
    return round(os.getloadavg()[0], 1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
