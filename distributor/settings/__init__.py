"""One `distributor.toml`: what it may say (models, environments, systems), and how it is read (load)."""

from distributor.settings.environments import EnvironmentSettings, MemberSettings
from distributor.settings.load import load_settings
from distributor.settings.models import Broker, Dataset, Ledger, Master, Settings, StoreSettings, Telemetry
from distributor.settings.systems import SystemSettings

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
