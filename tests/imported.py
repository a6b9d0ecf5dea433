"""What commands import, for ``commands`` to fork from."""

import gc

import click
import commands  # noqa: F401
import faiss  # noqa: F401
import gensim.models  # noqa: F401
import onnx  # noqa: F401
import tantivy  # noqa: F401
import torch  # noqa: F401

import hybrid_search.towers.onnx.runtime  # noqa: F401
from hybrid_search.cli import VERBS, cli

for _verb in VERBS:
    cli.get_command(click.Context(cli), _verb)
gc.freeze()  # or a collection in a forked process would copy all of it
