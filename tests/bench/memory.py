"""Peak resident memory of the processes that take part in the first full load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_KIB = 1024.0


def publish_and_weigh(config: Path) -> float:
    """Runs `distributor publish` and gives its peak in MB. Raises RuntimeError when it fails."""
    command = [sys.executable, "-m", "distributor", "publish", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError("`distributor publish` failed")
    return usage.ru_maxrss / _KIB


def peak_mb(pid: int) -> float:
    """The peak resident size of a running process in MB, where the kernel tells it (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / _KIB if found else float("nan")
