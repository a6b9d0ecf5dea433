"""``make campaign``: all attacks and their null controls, about an hour on two cores; a stopped one goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from node.server import find_server

from benchmarks.harness import write_result
from campaign.attack import Attack
from campaign.catalogue import ATTACKS, named
from campaign.controls import caught, planted_faults
from campaign.report import figures, table
from campaign.running import Plan, campaign

STATE = Path(os.environ.get("CAMPAIGN_STATE", ".cache/campaign"))


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice([attack.name for attack in ATTACKS]), help="These attacks alone."
)
@click.option("--minutes", default=60.0, show_default=True, help="Every attack ends after so many.")
@click.option("--share", default=1.0, show_default=True, help="Of the units that each attack wants.")
@click.option("--jobs", default=2, show_default=True, help="Attacks at work at once.")
@click.option("--seed", default=0, show_default=True)
@click.option("--fresh", is_flag=True, help="Forget what a stopped campaign did.")
@click.option("--write", is_flag=True, help="Write benchmarks/results/campaign.json.")
def main(only: tuple[str, ...], minutes: float, share: float, jobs: int, seed: int, fresh: bool, write: bool) -> None:
    """Attack the product; exits with 1 if anything was found, or a planted fault was not."""
    attacks: list[Attack] = [named(name) for name in only] or list(ATTACKS)
    state = STATE / f"seed-{seed}"
    if fresh:
        shutil.rmtree(state, ignore_errors=True)
    with _server(attacks) as server:
        plan = Plan(state, seed, share, minutes, jobs, server)
        crashes = campaign(attacks, plan)
        controls = {
            f"{attack.name}: {attack.planted[fault]}": caught(attack, fault, seed=seed, server=server) or "MISSED"
            for attack, fault in planted_faults(attacks)
        }
    tallies = {attack.name: plan.journal(attack).tally() for attack in attacks}
    kept = figures(attacks, tallies, crashes, controls)
    click.echo(table(kept))
    for name, tally in tallies.items():
        for trial, finding in tally.findings[:5]:
            click.echo(f"{name}, trial {trial}: {finding.what}\n    {finding.where}", err=True)
    if write:
        write_result("campaign", kept, command=_command(only, minutes, share), seed=seed, show=False)
    bad = any(tally.findings for tally in tallies.values()) or any(crashes.values()) or "MISSED" in controls.values()
    raise SystemExit(1 if bad else 0)


def _command(only: tuple[str, ...], minutes: float, share: float) -> str:
    words = ["PYTHONPATH=tests python -m campaign", *(f"--only {name}" for name in only)]
    return " ".join([*words, f"--minutes {minutes:g}", f"--share {share:g}"])


@contextmanager
def _server(attacks: list[Attack]) -> Iterator[str | None]:
    if not any(attack.needs_server for attack in attacks):
        yield None
        return
    server = find_server(ml=True)
    try:
        yield server.url
    finally:
        server.stop()


if __name__ == "__main__":
    main()
