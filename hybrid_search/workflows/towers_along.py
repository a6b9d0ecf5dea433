"""Towers in the cluster follow an alias: the next index has its own deployed before the alias stands for it."""

from __future__ import annotations

from pathlib import Path

from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.aliases import live_index
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.serving.deployment import find_deployment
from hybrid_search.errors import UsageError
from hybrid_search.workflows.deploying import deploy_like

__all__ = ["bring_towers", "check_towers_can_follow"]


def check_towers_can_follow(client: Client, alias: str, address: Address, model: Path | None) -> None:
    """Refuse, before anything is encoded, an index whose towers can't be deployed when the alias is to move.

    Towers behind a connector are served by somebody, who has to serve those of the next index too.

    :param address: the next index's; it is there.
    :param model: for the message; None where the server holds the towers.
    :raises UsageError: if the live index's towers are behind a connector, and the next one's are not deployed yet.
    """
    live = live_index(client, alias)
    if not live or live == address.index:
        return
    endpoint = _endpoint(client, live)
    if endpoint and find_deployment(client, address.index) is None:
        towers = f" --model {model}" if model else ""
        raise UsageError(
            f"{live} has its towers at {endpoint}, which serves one model; deploy those of {address.index} first: "
            f"hybrid-search deploy --to {address} --connector URL{towers}; then run the same command again, without "
            f"--recreate"
        )


def bring_towers(client: Client, address: Address, live: str) -> bool:
    """Deploy an index's towers if those of the live one are deployed; returns whether they are.

    :param address: the next index's.
    :param live: the live index's name.
    :raises HybridSearchError: as :func:`hybrid_search.workflows.deploying.deploy_like`.
    """
    if _endpoint(client, live) and find_deployment(client, address.index) is not None:
        return True  # by hand, as nobody here knows where they are served
    return deploy_like(str(address), live) is not None


def _endpoint(client: Client, index: str) -> str:
    deployed = find_deployment(client, index)
    return deployed.endpoint if deployed else ""
