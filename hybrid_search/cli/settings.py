"""Options generated from the settings classes, so that a setting can't exist without its option and its help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click
import msgspec

from hybrid_search.errors import ConfigError
from hybrid_search.settings.base import Setting
from hybrid_search.settings.training import NegativeSource

__all__ = ["HELP", "changed", "parse_mix", "settings_options"]

F = TypeVar("F", bound=Callable[..., Any])

HELP: Mapping[str, str] = {
    # towers
    "encoder": "The network; 'mean' is the baseline without one, 'transformer' needs --trunk.",
    "bidirectional": "Read the text in both directions.",
    "bidirectional_queries": "Read queries in both directions too, or forwards alone.",
    "hidden": "Width of the recurrent (or convolutional) layers.",
    "layers": "Recurrent layers.",
    "kernel": "Width of the CNN's window, in tokens.",
    "pooling": "How a sequence of states becomes one vector.",
    "residual": "Add the frequency-weighted mean of the word vectors.",
    "head_layers": "Fully connected layers after pooling.",
    "head_hidden": "Width of those layers.",
    "dropout": "Dropout during training, 0..1.",
    "layer_norm": "LayerNorm in the head.",
    "dimension": "Length of the vectors that come out.",
    "embedding_dimension": "Length of the word vectors.",
    "towers": "What the query and the document tower have in common.",
    "max_query_tokens": "Queries are cut after this many tokens.",
    "max_document_tokens": "Documents are cut after this many tokens.",
    "similarity": "How two vectors are compared.",
    "sif_a": "Constant of the frequency weights a / (a + p).",
    "trunk": "A sentence-transformers model, name or folder.",
    # training
    "loss": "What is minimised.",
    "epochs": "Most passes over the training examples, 0 for as many as suit the loss (600 steps, or 6 passes).",
    "max_steps": "Most steps, 0 for no limit.",
    "max_samples": "Most training examples, 0 for all.",
    "residual_share": "Share of the steps that train the mean of the word vectors alone, before the encoder joins.",
    "self_supervised": "Examples made out of documents alone, for each labelled one of a batch; 0 for none.",
    "batch_size": "Examples a step; the others of a batch are its in-batch negatives.",
    "learning_rate": "Learning rate of everything but the word vectors.",
    "embedding_learning_rate": "Learning rate of the word vectors.",
    "warmup_share": "Share of the steps over which the learning rate rises.",
    "schedule": "How the learning rate falls after that.",
    "clip_norm": "Largest norm of a gradient, 0 for no limit.",
    "weight_decay": "AdamW's weight decay.",
    "seed": "Seed of everything that is drawn.",
    "threads": "torch threads, 0 for torch's own choice; one is little slower than two, and the same everywhere.",
    "device": "Where the towers are trained.",
    "temperature": "Temperature of InfoNCE and KL.",
    "learn_temperature": "Let InfoNCE learn its temperature.",
    "margin": "Margin of the triplet, contrastive and residual losses.",
    "triplet_distance": "Distance of the triplet, contrastive and residual losses.",
    "triplet_mining": "Which negatives of a batch the triplet loss uses.",
    "hard_negatives": "Hard negatives an example.",
    "queue": "Vectors of earlier batches' documents kept as further negatives (infonce, triplet); 0 none.",
    "rank_window": "Ranks from which negatives are mined, FIRST-LAST.",
    "false_negative_margin": "Drop a mined negative scoring at least this share of the positive's score; 0 keeps all.",
    "refresh": "Rounds that mine negatives again from an index of the towers so far and train on; the best is kept.",
    "refresh_loss": "Loss of those rounds with --recipe distil: infonce contrasts the labels, the others follow the "
    "teacher's scores of what was mined.",
    "lexical_weight": "What a point of BM25 counts in the loss residual, beside distances.",
    "teacher_scores": "File of teacher scores (JSON lines or TSV) for margin_mse and kl.",
    "teacher": "A sentence-transformers model (name, folder, package) or a .safetensors file of vectors by text.",
    "vocabulary": "Most tokens of the tokenizer.",
    "min_frequency": "Words rarer than this are cut into pieces.",
    "frozen_steps": "Keep the word vectors frozen for so many steps; -1 for good.",
    "validation_share": "Share of the training queries held out for early stopping and fitting the fusion.",
    "validation_least": "Hold out a larger share, up to a third, until it is so many queries.",
    "validation_queries": "Most validation queries.",
    "validation_documents": "Documents of the validation corpus.",
    "evaluate_every": "Steps between validations.",
    "patience": "Validations without a gain before training stops.",
    "checkpoint_every": "Steps between resume points.",
    # word vectors
    "word2vec_epochs": "word2vec's passes over the corpus, 0 for as many as its size asks for.",
    "word2vec_learning_rate": "word2vec's learning rate.",
    "algorithm": "word2vec's algorithm.",
    "window": "word2vec's window, in tokens.",
    "sample": "Thin out words with a larger share of the corpus (word2vec's subsampling); 0 none.",
    "whiten": "Give all directions of the word vectors the same spread.",
    "negative": "word2vec's negative samples.",
    "workers": "word2vec's threads; more than one is faster and not reproducible.",
}


def settings_options(
    defaults: Setting, *, only: tuple[str, ...] = (), skip: tuple[str, ...] = (), prefix: str = ""
) -> Callable[[F], F]:
    """Give a command an option for every setting of a class (or ``only`` for some); an option left out is None.

    :param defaults: the class's values that the help shows: those of who gives no option.
    """
    settings = type(defaults)
    hints = get_type_hints(settings)

    def decorate(function: F) -> F:
        for field in reversed(msgspec.structs.fields(settings)):
            if field.name in skip or (only and field.name not in only):
                continue
            flag = f"--{prefix}{field.name}".replace("_", "-")
            kind = hints[field.name]
            help_text = HELP.get(f"{prefix}{field.name}") or HELP[field.name]
            text = f"{help_text}  [default: {_shown(getattr(defaults, field.name))}]"
            if kind is bool:
                flag = f"{flag}/--no-{flag[2:]}"
            function = click.option(flag, f"{prefix}{field.name}", type=_click_type(kind), default=None, help=text)(
                function
            )
        return function

    return decorate


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return "-".join(map(str, default))
    if isinstance(default, bool):
        return "yes" if default else "no"
    return str(default) if default != "" else "none"


def _click_type(kind: Any) -> Any:
    if get_origin(kind) is tuple:
        return RankWindow()
    return click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind


class RankWindow(click.ParamType[tuple[int, int]]):
    """``5-100``: the first and the last rank."""

    name = "first-last"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the two ranks."""
        first, _, last = str(value).partition("-")
        if not (first.isdigit() and last.isdigit()):
            self.fail(f"{value!r} is not a window of ranks; write FIRST-LAST, for example 5-100", param, ctx)
        return int(first), int(last)


def changed(settings: type[Setting], values: dict[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Take a settings class's options that were given out of a command's values."""
    names = [field.name for field in msgspec.structs.fields(settings) if f"{prefix}{field.name}" in values]
    taken = {name: values.pop(f"{prefix}{name}") for name in names}
    return {name: value for name, value in taken.items() if value is not None}


def parse_mix(text: str) -> list[list[Any]]:
    """Parse a schedule of negatives: ``bm25``, ``bm25:0.7,in_row:0.3`` or ``random; 0.3@bm25:0.8,random:0.2``.

    Stages are separated by ``;``; ``0.3@`` says from which share of the run on a stage holds.

    :raises ConfigError: naming the part that can't be read.
    """
    stages: list[list[Any]] = []
    for stage in filter(None, (part.strip() for part in text.split(";"))):
        start, _, mix = stage.rpartition("@")
        shares: dict[str, float] = {}
        for entry in mix.split(","):
            source, _, share = entry.strip().partition(":")
            if source not in get_args(NegativeSource):
                raise ConfigError(f"--negatives: no source {source!r}; there are {', '.join(get_args(NegativeSource))}")
            shares[source] = _number(share or "1", entry)
        stages.append([_number(start or "0", stage), shares])
    return stages


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--negatives: {text!r} in {where!r} is not a number; write for example bm25:0.7") from None
