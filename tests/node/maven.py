"""Fetching files by Maven coordinates: through ``mvn``, else from the repository that MAVEN_REPO_URL names."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Artifact", "Unavailable", "fetch"]

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_PATIENCE = 600.0


class Unavailable(Exception):
    """No server can be had this way; the message says why."""


@dataclass(frozen=True)
class Artifact:
    group: str
    name: str
    version: str
    kind: str = "zip"
    classifier: str = ""

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}{self.classifier and '-'}{self.classifier}.{self.kind}"

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.name}:{self.version}:{self.kind}{self.classifier and ':'}{self.classifier}"


def fetch(artifact: Artifact, folder: Path) -> Path:
    """Put the artifact into a folder.

    :raises Unavailable: if it can't be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / artifact.file
    if shutil.which("mvn"):
        _by_maven(artifact, folder)
    elif repository := os.environ.get("MAVEN_REPO_URL"):
        _by_https(artifact, repository, target)
    else:
        raise Unavailable("Maven (mvn) is not installed and MAVEN_REPO_URL names no repository")
    if not target.is_file():
        raise Unavailable(f"{artifact.coordinates} did not arrive in {folder}")
    return target


def _by_maven(artifact: Artifact, folder: Path) -> None:
    command = ["mvn", "-q", "-B", _COPY, f"-Dartifact={artifact.coordinates}", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"mvn took more than {_PATIENCE:.0f} s for {artifact.coordinates}") from error
    if done.returncode:
        raise Unavailable(f"mvn could not get {artifact.coordinates}: {(done.stdout + done.stderr)[-500:]}")


def _by_https(artifact: Artifact, repository: str, target: Path) -> None:
    place = f"{artifact.group.replace('.', '/')}/{artifact.name}/{artifact.version}/{artifact.file}"
    url = f"{repository.rstrip('/')}/{place}"
    part = target.with_suffix(".part")
    try:
        with urllib.request.urlopen(f"{url}.sha1", timeout=60) as answer:
            wanted = answer.read().decode().split()[0]
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise Unavailable(f"{artifact.coordinates} can't be downloaded from MAVEN_REPO_URL: {error}") from error
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    if found != wanted:
        raise Unavailable(f"{artifact.coordinates} from MAVEN_REPO_URL has another checksum than the repository says")
    part.rename(target)
