"""Peer (c): `pg_dump | psql`, the nightly full refresh, into all copies side by side."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def full_refresh(binaries: Path, master: str, copies: list[str]) -> float:
    """Dumps both large tables into every copy. Returns milliseconds. Raises CalledProcessError."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lambda copy: _one(binaries, master, copy), copies))
    return (time.perf_counter() - begun) * 1000


def _one(binaries: Path, master: str, copy: str) -> None:
    dump = [str(binaries / "pg_dump"), "--clean", "--if-exists", "--no-owner", "-t", "products", "-t", "prices", master]
    psql = [str(binaries / "psql"), "-q", "-X", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", copy]
    with subprocess.Popen(dump, stdout=subprocess.PIPE) as out:
        subprocess.run(psql, stdin=out.stdout, check=True)
        if out.wait() != 0:
            raise subprocess.CalledProcessError(out.returncode, dump)
