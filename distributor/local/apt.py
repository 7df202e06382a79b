"""Installs RabbitMQ with the system's package manager, without letting it start a system broker."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from distributor.errors import UnreachableError

PACKAGE = "rabbitmq-server"
POLICY = Path("/usr/sbin/policy-rc.d")
_DENY_ALL = "#!/bin/sh\n# distributor is installing a package; this file goes when it is done\nexit 101\n"


def root_prefix() -> list[str] | None:
    """What to put before a command so that it runs as root; None when that cannot be had without a question."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and _succeeds(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def can_install() -> bool:
    """Whether this machine has apt, and we may use it."""
    return shutil.which("apt-get") is not None and root_prefix() is not None


def install_rabbitmq(announce: Callable[[str], None], log: Path) -> None:
    """Installs the package; what apt says goes to `log`. Raises UnreachableError when apt fails."""
    prefix = root_prefix() or []
    announce(
        "installing rabbitmq-server with apt-get. No system broker is started now, a private one is used; "
        "to keep it from starting with the machine: systemctl disable rabbitmq-server"
    )
    with services_held_back(prefix):
        _apt(prefix, ["update", "-q"], log)
        _apt(prefix, ["install", "-q", "-y", "--no-install-recommends", PACKAGE], log)


@contextlib.contextmanager
def services_held_back(prefix: list[str], policy: Path = POLICY) -> Iterator[None]:
    """While it lasts, packages that are installed start no service; the machine's own policy comes back afterwards."""
    kept = policy.with_name(f"{policy.name}.distributor-kept")
    with tempfile.NamedTemporaryFile("w", prefix="policy-rc.d-") as deny_all:
        deny_all.write(_DENY_ALL)
        deny_all.flush()
        if policy.exists() and not kept.exists() and policy.read_text() != _DENY_ALL:
            _must([*prefix, "mv", str(policy), str(kept)])
        _must([*prefix, "install", "-m", "755", deny_all.name, str(policy)])
    try:
        yield
    finally:
        if kept.exists():
            _must([*prefix, "mv", "-f", str(kept), str(policy)])
        else:
            _must([*prefix, "rm", "-f", str(policy)])


def _apt(prefix: list[str], arguments: list[str], log: Path) -> None:
    # sudo drops the environment of the caller: the variable has to come after it.
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *arguments]
    with log.open("ab") as file:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False)
    if done.returncode != 0:
        raise UnreachableError(
            f"apt-get {arguments[0]} ended with {done.returncode}", where="this machine", mend=f"Its log is {log}."
        )


def _must(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnreachableError(done.stderr.strip() or f"{command} failed", where="this machine")


def _succeeds(command: list[str]) -> bool:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0
