"""Configuration: one TOML file, the environment and the command line make one frozen `Settings`."""

from claire.adapters.config.checks import Account, account_of
from claire.adapters.config.load import Loaded, canonical, digest, load, parameters, restore
from claire.adapters.config.schema import (
    AllocationMode,
    EntryType,
    FeeAsset,
    InstrumentSettings,
    Keep,
    Mode,
    RiskProfile,
    Settings,
    StrategySettings,
)

__all__ = [
    "Account",
    "AllocationMode",
    "EntryType",
    "FeeAsset",
    "InstrumentSettings",
    "Keep",
    "Loaded",
    "Mode",
    "RiskProfile",
    "Settings",
    "StrategySettings",
    "account_of",
    "canonical",
    "digest",
    "load",
    "parameters",
    "restore",
]
