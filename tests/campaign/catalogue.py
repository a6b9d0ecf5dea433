"""All attacks, by name."""

from __future__ import annotations

from campaign.attack import Attack
from campaign.crowds.alias import AliasCrowd
from campaign.crowds.cold import ColdCrowd
from campaign.crowds.folder import FolderCrowd
from campaign.crowds.loaders import LoaderCrowd
from campaign.crowds.processes import ProcessCrowd
from campaign.crowds.server import ServerCrowd
from campaign.crowds.towers import TowerCrowd
from campaign.faults.disk import DiskFaults
from campaign.fuzz.answers import Answers
from campaign.fuzz.apart import Apart
from campaign.fuzz.datasets import Datasets
from campaign.fuzz.engines import Engines
from campaign.fuzz.folders import Folders
from campaign.fuzz.guided import INSTALLED, Guided
from campaign.fuzz.parsers import Parsers
from campaign.fuzz.surface import Surface
from campaign.hostile.folders import HostileFolder, HostileModel
from campaign.kills.embedded import KillsEmbedded
from campaign.kills.server import KillsServer
from campaign.kills.training import KillsTraining
from campaign.losses.power import PowerLoss

__all__ = ["ATTACKS", "named"]

# The longest first, so that those at work at once end together.
ATTACKS: tuple[Attack, ...] = (
    FolderCrowd(),
    KillsEmbedded(),
    KillsServer(),
    DiskFaults(),
    PowerLoss(),
    KillsTraining(),
    Parsers(),
    Folders(),
    Surface(),
    Apart("campaign.fuzz.files:Files"),
    Datasets(),
    Apart("campaign.fuzz.commands:Commands"),
    HostileFolder(),
    HostileModel(),
    ColdCrowd(),
    ProcessCrowd(),
    TowerCrowd(),
    ServerCrowd(),
    AliasCrowd(),
    LoaderCrowd(),
    Engines(),
    Answers(),
    *((Guided(),) if INSTALLED else ()),
)


def named(name: str) -> Attack:
    """Return an attack.

    :raises KeyError: if there is none of that name.
    """
    return {attack.name: attack for attack in ATTACKS}[name]
