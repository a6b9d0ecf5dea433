"""All attacks, by name."""

from __future__ import annotations

from campaign.attack import Attack
from campaign.faults.disk import DiskFaults
from campaign.fuzz.apart import Apart
from campaign.fuzz.datasets import Datasets
from campaign.fuzz.folders import Folders
from campaign.fuzz.parsers import Parsers
from campaign.fuzz.surface import Surface
from campaign.kills.embedded import KillsEmbedded
from campaign.kills.server import KillsServer
from campaign.losses.power import PowerLoss

__all__ = ["ATTACKS", "named"]

ATTACKS: tuple[Attack, ...] = (
    KillsEmbedded(),
    PowerLoss(),
    DiskFaults(),
    KillsServer(),
    Parsers(),
    Folders(),
    Surface(),
    Apart("campaign.fuzz.files:Files"),
    Datasets(),
    Apart("campaign.fuzz.commands:Commands"),
)


def named(name: str) -> Attack:
    """Return an attack.

    :raises KeyError: if there is none of that name.
    """
    return {attack.name: attack for attack in ATTACKS}[name]
