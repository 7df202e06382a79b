"""Installs a server with the system's package manager, without letting it start a system service."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from distributor.errors import UnreachableError

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
    """Installs RabbitMQ; see `install_package`."""
    install_package("rabbitmq-server", announce, log, thing="broker")


def install_package(
    package: str, announce: Callable[[str], None], log: Path, *, thing: str = "server", unit: str = ""
) -> None:
    """Installs a package and none of its services is started; what apt says goes to `log`. `thing` is what it brings
    and `unit` the name of its service where that is not the package's. Raises UnreachableError when apt fails."""
    prefix = root_prefix() or []
    announce(
        f"installing {package} with apt-get. No system {thing} is started now, a private one is used; "
        f"to keep it from starting with the machine: systemctl disable {unit or package}"
    )
    with services_held_back(prefix):
        _apt(prefix, ["update", "-q"], log)
        _apt(prefix, ["install", "-q", "-y", "--no-install-recommends", package], log)


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
