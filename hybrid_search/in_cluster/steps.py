"""Deploys towers in the cluster step by step: finished steps are skipped, and undone if a later one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hybrid_search.engines.opensearch.index import Deployment, Lock, all_deployments, forget, read_record, remember
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import HybridSearchError, UsageError
from hybrid_search.in_cluster import text_pipelines as pipelines
from hybrid_search.in_cluster.cluster_settings import check_allowed, held_settings, missing_settings, set_settings
from hybrid_search.in_cluster.connectors import check_outside, delete_connector, find_connectors, make_connector
from hybrid_search.in_cluster.faults import DEPLOYED, delete_template, faults, stored_template, template_path
from hybrid_search.in_cluster.ml_commons import (
    Model,
    delete_group,
    delete_model,
    find_group,
    find_models,
    load_model,
    make_group,
    predict,
    register_remote,
    register_tower,
)
from hybrid_search.in_cluster.text_pipelines import template_script
from hybrid_search.in_cluster.undo import Made, Undo
from hybrid_search.protocols import Encoder, Progress, Task, silent
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.onnx.packed import LEAST_COSINE, PackedTower, TowerName, check_vectors

__all__ = ["Outcome", "Wanted", "deploy"]

_TOWERS: tuple[TowerName, ...] = ("query", "document")

_WHOLE = frozenset({DEPLOYED, "REGISTERED", "UNDEPLOYED", "PARTIALLY_DEPLOYED", "DEPLOYING", "DEPLOY_FAILED"})
"""States of a model that has all its chunks; the last three can remain after restarts of nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to deploy for an index.

    :ivar settings: the index's settings.
    :ivar encoder: the checkpoint's encoder, with whose vectors those of the deployed towers are compared.
    :ivar texts: the texts for this comparison.
    :ivar least: cosine that each text must be above in it.
    :ivar packed: both towers, to be run in the cluster; empty for an ``endpoint``.
    :ivar endpoint: address of towers that are served outside the cluster; empty for towers in it.
    :ivar token: the token that these towers require; empty for none.
    :ivar allow_settings: whether cluster settings may be changed.
    """

    settings: IndexSettings
    encoder: Encoder
    texts: Sequence[str]
    least: float = LEAST_COSINE
    packed: Mapping[TowerName, PackedTower] = field(default_factory=dict)
    endpoint: str = ""
    token: str = field(default="", repr=False)
    allow_settings: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a deployment.

    :ivar made: what was created or changed, a few words each; empty if everything existed already.
    :ivar cosine: the lowest cosine between a text's vector from the cluster and from the checkpoint.
    """

    deployment: Deployment
    made: tuple[str, ...]
    cosine: float


def deploy(client: Client, index: str, family: str, wanted: Wanted, progress: Progress = silent) -> Outcome:
    """Deploy towers for an index, or repair an incomplete deployment; a complete one is not changed.

    If a step fails or is interrupted, everything that this call created is removed again; the error's message, or a
    note of the KeyboardInterrupt, says whether anything is left.

    :param index: the index's own name.
    :param family: see :mod:`~hybrid_search.engines.opensearch.index.deployment`.
    :raises IndexLocked: if another process deploys on the server for minutes, or took the lock over meanwhile.
    :raises UsageError: if towers of the other kind (in the cluster, or outside) are deployed.
    :raises ConfigError: if cluster settings must be changed and may not be.
    :raises AccessDenied: if towers at an ``endpoint`` require another token.
    :raises ModelMismatch: if these are another model.
    :raises ModelError: if the deployed towers give other vectors than the checkpoint.
    :raises SearchIndexError: if the server refuses; the message says whether anything is left.
    """
    total = sum(len(tower.archive) for tower in wanted.packed.values())
    with (
        Lock(client, f"deploy of {index}") as lock,
        progress(f"deploying for {index}, bytes sent", total or None) as task,
    ):
        recorded = read_record(client, index)
        _check_kind(recorded, index, wanted)
        fresh = Deployment(index=index, family=family, fingerprint=wanted.settings.fingerprint)
        work = _Work(client, (recorded or fresh).but(endpoint=wanted.endpoint), wanted, lock)
        if recorded is not None and not faults(client, recorded, wanted.settings.fusion):
            return Outcome(recorded, (), work.check(recorded))
        try:
            cosine = work.through(recorded, task)
        except BaseException as error:
            if not lock.is_lost:  # otherwise the process that has the lock now continues from the present state
                _tell(error, _undo(work.undo), index)
            raise
    return Outcome(work.deployment, tuple(work.made), cosine)


def _check_kind(recorded: Deployment | None, index: str, wanted: Wanted) -> None:
    has_towers = recorded is not None and (recorded.query_model or recorded.connectors)
    if recorded is not None and has_towers and recorded.endpoint != wanted.endpoint:
        kind = f"at {recorded.endpoint}" if recorded.endpoint else "in the cluster"
        raise UsageError(
            f"{index}: towers {kind} are deployed for it; take them away first, with hybrid-search undeploy"
        )
    if wanted.endpoint:
        check_outside(wanted.endpoint, wanted.token, wanted.settings.fingerprint)


def _undo(undo: Undo) -> list[str]:
    try:
        return undo.run()
    except BaseException as again:  # a second Ctrl-C
        again.add_note(
            f"Interrupted while undoing; may be left on the server: {', '.join(undo.ahead)}; hybrid-search undeploy, "
            f"or the same deploy once more, clears it."
        )
        raise


def _tell(error: BaseException, left: Sequence[str], index: str) -> None:
    after = f"Nothing of it is left on the server, and {index} is as it was."
    if left:
        after = (
            f"Could not be removed again: {', '.join(left)}; hybrid-search undeploy, or the same deploy once more, "
            f"does it when the server answers."
        )
    if isinstance(error, HybridSearchError) and error.args:
        error.args = (f"{error.args[0].rstrip('.')}. {after}", *error.args[1:])
    else:  # mostly a KeyboardInterrupt
        error.add_note(after)


class _Work:
    """A deployment in progress.

    :ivar made: what was created or changed so far, a few words each.
    """

    def __init__(self, client: Client, deployment: Deployment, wanted: Wanted, lock: Lock) -> None:
        self.deployment = deployment
        self.made: list[str] = []
        self.undo = Undo()
        self._client = client
        self._wanted = wanted
        self._lock = lock

    def through(self, recorded: Deployment | None, task: Task) -> float:
        """Take every step that is needed; returns the lowest cosine."""
        missing = missing_settings(self._client, self._wanted.endpoint)
        check_allowed(missing, allowed=self._wanted.allow_settings)
        self.undo.by("the record in the index's mapping", partial(self._put_back, recorded))
        self._note(state="making")
        self._settings(missing)
        self._group()
        for tower in _TOWERS:
            task.note(f"the {tower} tower")
            self._tower(tower, task)
        task.note("checking the vectors")
        cosine = self.check(self.deployment)
        self._lock.check()
        self._pipelines()
        self._template()
        self._use()
        self._note(state="ready")
        return cosine

    def check(self, deployment: Deployment) -> float:
        """Compare the vectors from the cluster with the checkpoint's; returns the lowest cosine."""
        encoder, texts = self._wanted.encoder, self._wanted.texts
        where = f"at {deployment.endpoint}" if deployment.endpoint else "in the cluster"
        cosines = []
        for tower, id, encode in (
            ("query", deployment.query_model, encoder.encode_queries),
            ("document", deployment.document_model, encoder.encode_documents),
        ):
            found = predict(self._client, id, texts, remote=bool(deployment.endpoint))
            cosines.append(
                check_vectors(f"the {tower} tower {where}", texts, found, encode(list(texts)), self._wanted.least)
            )
        return min(cosines)

    def _note(self, **changes: Any) -> None:
        self._lock.check()
        self.deployment = self.deployment.but(**changes)
        remember(self._client, self.deployment)

    def _put_back(self, recorded: Deployment | None) -> None:
        if recorded is None:
            forget(self._client, self.deployment.index)
        else:
            remember(self._client, recorded)

    def _settings(self, missing: Mapping[str, Any]) -> None:
        if not missing:
            return
        before = held_settings(self._client, missing)
        self._note(cluster_settings={**before, **self.deployment.cluster_settings})
        self.undo.by("cluster settings", partial(set_settings, self._client, before))
        set_settings(self._client, missing)
        self.made += [f"cluster setting {name}" for name in missing]

    def _group(self) -> None:
        name = self.deployment.group_name
        group = find_group(self._client, name)
        if group is None:
            made = self._making(
                f"model group {name}", lambda: filter(None, [find_group(self._client, name)]), delete_group
            )
            group = made.known(make_group(self._client, name, f"hybrid-search: towers of {self.deployment.family}"))
            self.made.append(f"model group {name}")
        self._note(model_group=group)

    def _making(self, what: str, find: Callable[[], Iterable[str]], delete: Callable[[Client, str], object]) -> Made:
        """Register, before a request is sent, how to remove what it creates."""
        made = Made(find, partial(delete, self._client))
        self.undo.by(what, made.remove)
        return made

    def _tower(self, tower: TowerName, task: Task) -> None:
        name, client = self.deployment.model_name(tower), self._client
        named = [model for model in find_models(client, self.deployment.model_group) if model.name == name]
        whole = next((model for model in named if self._is(model, tower)), None)
        if spare := {model.id for model in named if model is not whole}:
            for id in spare - self._used_elsewhere():  # left by a killed process
                delete_model(client, id)
        if whole is None:
            id = self._register(tower, name, task)
            self.made.append(f"model {name}")
        else:
            id = whole.id
        self._note(**{f"{tower}_model": id})
        if whole is None or whole.state != DEPLOYED:
            load_model(client, id, name)
            if whole is not None:
                self.made.append(f"{name} loaded")

    def _used_elsewhere(self) -> set[str]:
        others = (other for other in all_deployments(self._client) if other.index != self.deployment.index)
        return {id for other in others for id in (other.query_model, other.document_model)}

    def _is(self, model: Model, tower: TowerName) -> bool:
        """Return whether a model of the right name is complete and contains the right tower."""
        if model.state not in _WHOLE:
            return False
        if self._wanted.endpoint:
            return model.connector in self.deployment.connectors
        # A deployed model may differ in bytes if another library version packed it: its name has the fingerprint, and
        # its vectors are compared anyway.
        return model.state == DEPLOYED or model.sha256 == self._wanted.packed[tower].sha256

    def _register(self, tower: TowerName, name: str, task: Task) -> str:
        client, group, wanted = self._client, self.deployment.model_group, self._wanted
        connector = self._connector(tower, name) if wanted.endpoint else ""
        before = {model.id for model in find_models(client, group)}

        def appeared() -> list[str]:
            return [model.id for model in find_models(client, group) if model.name == name and model.id not in before]

        made = self._making(f"model {name}", appeared, delete_model)
        if not connector:
            return register_tower(client, name, group, wanted.packed[tower], task, made.known)
        description = f"hybrid-search: {wanted.settings.fingerprint}"
        return made.known(register_remote(client, name, group, connector, description))

    def _connector(self, tower: TowerName, name: str) -> str:
        client, wanted = self._client, self._wanted

        def appeared() -> set[str]:
            noted = {connector for one in all_deployments(client) for connector in one.connectors}
            return find_connectors(client, name) - noted

        made = self._making(f"connector {name}", appeared, delete_connector)
        connector = made.known(make_connector(client, name, wanted.endpoint, tower, wanted.token))
        self._note(connectors=(*self.deployment.connectors, connector))
        return connector

    def _pipelines(self) -> None:
        client = self._client
        for kind, name, body in pipelines.made_for(self.deployment, self._wanted.settings.fusion):
            if (before := pipelines.stored(client, kind, name)) == body:
                continue
            back = partial(pipelines.put, body=before) if before else pipelines.delete
            self.undo.by(f"pipeline {kind}/{name}", partial(back, client, kind, name))
            pipelines.put(client, kind, name, body)
            self.made.append(f"{'ingest' if kind == pipelines.INGEST else 'search'} pipeline {name}")

    def _template(self) -> None:
        client, path = self._client, template_path(self.deployment)
        body = template_script(self._wanted.settings.fusion)
        if (before := stored_template(client, self.deployment)) == body["script"]["source"]:
            return
        if before is None:
            self.undo.by(f"search template {path}", partial(delete_template, client, self.deployment))
        else:
            script = {"script": {**body["script"], "source": before}}
            self.undo.by(f"search template {path}", partial(client.call, "PUT", path, script))
        client.call("PUT", path, body)
        self.made.append(f"search template {self.deployment.search_template}")

    def _use(self) -> None:
        index, before = self.deployment.index, pipelines.told_before(self._client, self.deployment)
        if before:
            self._note(replaced={**before, **self.deployment.replaced})
            self.undo.by(f"settings of {index}", partial(pipelines.give_back, self._client, index, before))
            pipelines.use(self._client, self.deployment)
            self.made += [f"{name} of {index}" for name in before]
