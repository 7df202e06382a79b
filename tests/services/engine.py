"""Whether tests should use containers, and whether they can."""

from __future__ import annotations

import os

POSTGRES_IMAGE = "postgres:18"
RABBITMQ_IMAGE = "rabbitmq:4-management"
REDIS_IMAGE = "redis:7"


def chosen_image(variable: str, default: str) -> str | None:
    """The image to run, or None for a private process.

    Containers are asked for (`DISTRIBUTOR_TEST_CONTAINERS=1` or an image): pulling from nowhere would hang for minutes.
    """
    asked = os.environ.get("DISTRIBUTOR_TEST_CONTAINERS") == "1" or variable in os.environ
    return os.environ.get(variable, default) if asked and _engine_answers() else None


def _engine_answers() -> bool:
    import docker

    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    try:
        return bool(client.ping())
    except docker.errors.DockerException:
        return False
    finally:
        client.close()
