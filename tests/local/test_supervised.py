"""A supervised process ends with its owner, and a stranger's process never by mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distributor.errors import UnreachableError
from distributor.local.processes import free_port, is_free, owned, remembered_ports, wait_until
from distributor.local.supervised import Supervised
from tests.local.watching import alive, family
from tests.support import wait_for

SLEEP = ["sleep", "600"]


def test_stopping_ends_the_process_and_its_warden(tmp_path: Path) -> None:
    server = Supervised("sleeper", SLEEP, tmp_path)
    server.start()
    processes = family(server.pid)
    assert server.running
    server.stop()
    assert alive(processes) == []
    assert not (tmp_path / "sleeper.pid").exists()


def test_a_process_that_ignores_the_signal_is_killed_after_the_patience(tmp_path: Path) -> None:
    server = Supervised(
        "deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"], tmp_path, patience=0.2
    )
    server.start()
    wait_for(lambda: "deaf" in server.log.read_text(), what="the trap")
    processes = family(server.pid)[:2]
    server.stop()
    assert alive(processes) == []


def test_the_process_ends_when_its_warden_is_killed(tmp_path: Path) -> None:
    server = Supervised("sleeper", SLEEP, tmp_path)
    server.start()
    process, warden = family(server.pid)
    os.kill(warden.pid, signal.SIGKILL)
    wait_for(lambda: not alive([process]), what="the end of the process")
    server.stop()


def test_a_later_start_ends_the_leftover_of_an_earlier_one(tmp_path: Path) -> None:
    spawn = "sleep 600 >/dev/null 2>&1 & echo $!"
    orphan = int(subprocess.run(["sh", "-c", spawn], capture_output=True, check=True).stdout)
    leftover = psutil.Process(orphan)
    (tmp_path / "sleeper.pid").write_text(json.dumps({"pid": orphan, "started": leftover.create_time()}))
    server = Supervised("sleeper", SLEEP, tmp_path)
    server.start()
    assert alive([leftover]) == []
    assert server.running
    server.stop()


def test_a_stranger_with_the_pid_of_a_leftover_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        started = psutil.Process(stranger.pid).create_time() - 100
        (tmp_path / "sleeper.pid").write_text(json.dumps({"pid": stranger.pid, "started": started}))
        Supervised("sleeper", SLEEP, tmp_path).stop_leftover()
        assert stranger.poll() is None
        stranger.kill()


def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="/no/such/program could not be run"):
        Supervised("nothing", ["/no/such/program"], tmp_path).start()


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(UnreachableError, match="another process runs its servers"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_ports_are_remembered_while_they_are_free(tmp_path: Path) -> None:
    first = remembered_ports(tmp_path / "ports", 3)
    assert len(set(first)) == 3
    assert remembered_ports(tmp_path / "ports", 3) == first
    with subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(first[1])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as occupant:
        wait_for(lambda: not is_free(first[1]), what="the occupation of a port")
        assert first[1] not in remembered_ports(tmp_path / "ports", 3)
        occupant.kill()
    assert is_free(free_port())


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(UnreachableError, match=r"the second coming did not happen within 0\.05 s"):
        wait_until(lambda: False, 0.05, "the second coming")
