"""One `distributor.toml`: what it may say (models), and how it is read (load)."""

from distributor.settings.load import load_settings
from distributor.settings.models import (
    Broker,
    Dataset,
    EnvironmentSettings,
    Ledger,
    Master,
    MemberSettings,
    Settings,
    StoreSettings,
    SystemSettings,
    Telemetry,
)

__all__ = [
    "Broker",
    "Dataset",
    "EnvironmentSettings",
    "Ledger",
    "Master",
    "MemberSettings",
    "Settings",
    "StoreSettings",
    "SystemSettings",
    "Telemetry",
    "load_settings",
]
