"""Which broker a machine gets, and that installing one leaves the machine's own policy as it was."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from distributor.errors import UnreachableError
from distributor.local import apt, rabbitmq
from distributor.local.broker import choose_broker
from distributor.local.rabbitmq import LocalRabbitMQ, find_rabbitmq_server


def test_a_given_url_comes_first_and_is_used_as_it_is(tmp_path: Path) -> None:
    url = "amqp://user:secret@broker.example:5671/vhost"
    with choose_broker(tmp_path, given_url=url, announce=pytest.fail) as broker:
        assert broker.kind == "given"
        assert broker.url() == url


@pytest.mark.skipif(find_rabbitmq_server() is None, reason="no rabbitmq-server on this machine")
def test_a_broker_on_the_machine_is_run_privately(tmp_path: Path) -> None:
    assert isinstance(choose_broker(tmp_path, announce=pytest.fail), LocalRabbitMQ)


def test_a_machine_without_any_way_to_a_broker_hears_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "_LAUNCHERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnreachableError) as caught:
        choose_broker(tmp_path, announce=pytest.fail)
    assert "no rabbitmq-server on this machine, no apt-get" in caught.value.what
    assert "DISTRIBUTOR_AMQP_URL" in caught.value.mend


@pytest.mark.parametrize("own_policy", [None, "#!/bin/sh\nexit 0\n"])
def test_services_are_held_back_only_while_a_package_is_installed(tmp_path: Path, own_policy: str | None) -> None:
    policy = tmp_path / "policy-rc.d"
    if own_policy is not None:
        policy.write_text(own_policy)
        policy.chmod(0o755)
    with contextlib.suppress(UnreachableError), apt.services_held_back([], policy):
        assert subprocess.run([policy, "rabbitmq-server", "start"], check=False).returncode == 101
        raise UnreachableError("apt broke down")
    assert (policy.read_text() if policy.exists() else None) == own_policy
    assert [path.name for path in tmp_path.iterdir()] == ([] if own_policy is None else ["policy-rc.d"])
