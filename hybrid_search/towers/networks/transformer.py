"""A sentence-transformers model as trunk of the towers (extra ``transformers``).

Its word embeddings become the towers' word vectors and its layers the encoder, followed by this package's pooling and
head. The two special tokens around a text are added inside the network, so its tokenizer works like any other here.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybrid_search.errors import ConfigError, MissingExtra, ModelNotFound
from hybrid_search.settings.training import TowerConfig
from hybrid_search.towers.tokenizer import PAD, UNK, TextTokenizer

__all__ = ["TransformerEncoder", "trunk_vocabulary"]


class TransformerEncoder(nn.Module):
    """The layers of a pretrained transformer: (n, t, d) word embeddings to (n, t, d) states."""

    backward_width = 0

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        model, tokenizer = _load(config.trunk)
        self.width = int(model.config.hidden_size)
        if config.embedding_dimension != self.width:
            raise ConfigError(
                f"embedding_dimension is {config.embedding_dimension}; "
                f"with trunk {config.trunk!r} it must be {self.width}"
            )
        positions = int(model.config.max_position_embeddings) - 2
        if max(config.max_query_tokens, config.max_document_tokens) > positions:
            raise ConfigError(f"trunk {config.trunk!r} reads at most {positions} tokens; lower max_document_tokens")
        table = model.get_input_embeddings().weight.detach()
        self.first = nn.Parameter(table[tokenizer.cls_token_id].clone())
        self.final = nn.Parameter(table[tokenizer.sep_token_id].clone())
        # The towers have the table; the model's own copy is never read.
        model.set_input_embeddings(nn.Embedding(1, self.width).requires_grad_(False))
        self.model = model

    def forward(self, embedded: Tensor, lengths: Tensor) -> Tensor:
        """Return states (n, t, width), without those of the two special tokens; those of padding are arbitrary."""
        rows, _, width = embedded.shape
        steps = torch.arange(embedded.shape[1] + 2, device=embedded.device)[None]  # (1, t + 2)
        space = embedded.new_zeros(rows, 1, width)
        inputs = torch.cat([self.first.expand(rows, 1, width), embedded, space], dim=1)
        inputs = torch.where((steps == lengths[:, None] + 1)[:, :, None], self.final, inputs)
        mask = (steps < lengths[:, None] + 2).long()
        states: Tensor = self.model(inputs_embeds=inputs, attention_mask=mask, return_dict=False)[0]
        return states[:, 1:-1]


def trunk_vocabulary(trunk: str) -> tuple[TextTokenizer, NDArray[np.float32]]:
    """Return a trunk's tokenizer, with PAD at 0 and UNK at 1, and its word embeddings (V, d) in the order of the ids.

    :param trunk: a folder, or the name of a model on the hub.
    :raises MissingExtra: if sentence-transformers is not installed.
    :raises ModelNotFound: if the trunk can't be loaded.
    :raises ConfigError: if its tokenizer is not of the WordPiece kind.
    """
    model, tokenizer = _load(trunk)
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    if content["model"]["type"] != "WordPiece":
        raise ConfigError(f"trunk {trunk!r} has a {content['model']['type']} tokenizer; it must be WordPiece")
    names = sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
    order = list(range(len(names)))
    for number, token in ((PAD, tokenizer.pad_token), (UNK, tokenizer.unk_token)):
        position = order.index(names.index(token))
        order[number], order[position] = order[position], order[number]
    content["model"]["vocab"] = {names[old]: new for new, old in enumerate(order)}
    # Without these, a text that contains "[SEP]" is split into words, as by this package's own tokenizers.
    content |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    table = model.get_input_embeddings().weight.detach().numpy()[order].astype(np.float32)
    table[PAD] = 0
    return TextTokenizer.from_json(json.dumps(content), source=trunk), table


def _load(trunk: str) -> tuple[Any, Any]:
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtra("sentence-transformers", "transformers") from error
    logging = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # The fused attention kernels can't be exported.
        model = transformers.AutoModel.from_pretrained(trunk, attn_implementation="eager")
        return model, transformers.AutoTokenizer.from_pretrained(trunk)
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"trunk {trunk!r} can't be loaded: {error}") from error
