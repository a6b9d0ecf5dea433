"""Text to token ids: frequent words whole, rare words in pieces. One ``tokenizer.json`` for training and serving.

The file is of the plain ``tokenizers`` kind (NFKC, lower case, runs of letters and digits,
WordPiece), so that whatever reads such a file, a cluster's ml-commons too, cuts a text exactly as training did. Words
are those of BM25's analyzers that fold (:mod:`hybrid_search.analysis`), before these cut them to their stems.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from hybrid_search.errors import ConfigError, CorruptModel
from hybrid_search.storage import disk_errors
from hybrid_search.streams import in_sized_batches
from hybrid_search.towers.beginnings import Alphabet, beginning
from mappings.folding import IGNORED, REPLACED

__all__ = ["PAD", "UNK", "TextTokenizer", "train_tokenizer"]

PAD, UNK = 0, 1
"""Reserved ids. No text reaches the names ``[PAD]`` and ``[UNK]``: brackets never are part of a word."""

_PAD_NAME, _UNK_NAME = "[PAD]", "[UNK]"
_RESTORE = "restore the checkpoint from a copy, or train again"
_IGNORED = "".join(f"{chr(first)}-{chr(last)}" for first, last in IGNORED)
# The pipeline's words where there is nothing but ASCII, found twice as fast.
_WORD = re.compile(r"[^\W_]+")
_LONGEST_WORD = 100  # characters; a longer run is UNK, which also bounds WordPiece's quadratic search
# tokenizers' own records of a text are some 50 times larger than its ids
_ENCODED_AT_ONCE = 1024  # texts
_CHARACTERS_AT_ONCE = 1 << 20
_MOST_WORDS = 4_000_000  # distinct words counted at a time; beyond it those seen once are forgotten
_WORDS_FOR_PIECES = 200_000
_PIECE_SHARE, _MOST_PIECES, _MOST_CHARACTERS = 0.2, 6_000, 1_000


class TextTokenizer:
    """Turns texts into token ids. Immutable; may be shared by threads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # One of a pretrained trunk has a pipeline of its own, of which less is known.
        self._alphabet = _alphabet(tokenizer) if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.Split) else None

    @classmethod
    def from_json(cls, text: str, *, source: str = "tokenizer.json") -> Self:
        """Read a tokenizer from the content of its file.

        :raises CorruptModel: if the text is not a tokenizer with PAD at 0 and UNK at 1; ``source`` is named.
        """
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # tokenizers raises nothing narrower
            raise CorruptModel(f"{source} is not a tokenizer ({error}); {_RESTORE}") from error
        if tokenizer.id_to_token(PAD) is None or tokenizer.id_to_token(UNK) is None:
            raise CorruptModel(f"{source} has no tokens 0 (PAD) and 1 (UNK); {_RESTORE}")
        return cls(tokenizer)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a ``tokenizer.json``.

        :raises StorageError: if the file can't be read.
        :raises CorruptModel: as :meth:`from_json`.
        """
        with disk_errors(f"reading {path}"):
            data = path.read_bytes()
        return cls.from_json(data.decode("utf-8", "replace"), source=str(path))

    def to_json(self) -> str:
        """Return the content of ``tokenizer.json`` in a canonical form: equal tokenizers, equal text."""
        return json.dumps(json.loads(self._tokenizer.to_str()), ensure_ascii=False, sort_keys=True, indent=1)

    @property
    def hash(self) -> str:
        """SHA-256 of :meth:`to_json`, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens; ids run from 0 to this minus 1."""
        return int(self._tokenizer.get_vocab_size())

    def tokens(self) -> list[str]:
        """Return the tokens in the order of their ids; a piece inside a word starts with ``##``."""
        by_token: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(by_token, key=by_token.__getitem__)

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[NDArray[np.int32]]:
        """Cut texts into token ids.

        :param max_tokens: longer texts are cut here.
        :return: one int32 array per text, 0 to ``max_tokens`` long, without padding.
        """
        encoded: list[NDArray[np.int32]] = []
        parts = (self._part(text, max_tokens) for text in texts)
        for batch in in_sized_batches(parts, _ENCODED_AT_ONCE, _CHARACTERS_AT_ONCE, len):
            encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            encoded += [np.array(encoding.ids[:max_tokens], dtype=np.int32) for encoding in encodings]
        return encoded

    def encode_one(self, text: str, max_tokens: int) -> NDArray[np.int64]:
        """Cut one text into token ids: int64, 1 to ``max_tokens`` long; a text without tokens is one PAD."""
        part = self._part(text, max_tokens)
        encoding = self._tokenizer.encode_batch_fast([part], add_special_tokens=False)[0]
        return np.array(encoding.ids[:max_tokens] or [PAD], dtype=np.int64)

    def _part(self, text: str, max_tokens: int) -> str:
        """Return what of a text decides its first tokens, as what has a UTF-8 form."""
        text = _encodable(beginning(text, max_tokens))
        return text if self._alphabet is None else self._alphabet.deciding_part(text, max_tokens)


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, min_frequency: int) -> TextTokenizer:
    """Learn a vocabulary. Reads the texts once and keeps only word counts; the same texts give the same tokenizer.

    :param vocabulary: most tokens, PAD and UNK included.
    :param min_frequency: a word seen less often than this is not kept whole but cut into pieces.
    :raises ConfigError: if ``vocabulary`` leaves no room for words.
    """
    if vocabulary < 16:
        raise ConfigError(f"vocabulary is {vocabulary}; it must be at least 16")
    counts = _count_words(texts)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = _learn_pieces(ranked[:_WORDS_FOR_PIECES], min(_MOST_PIECES, int(vocabulary * _PIECE_SHARE)))
    tokens = dict.fromkeys([_PAD_NAME, _UNK_NAME])
    tokens.update(dict.fromkeys([w for w in ranked if counts[w] >= min_frequency][: vocabulary - 2 - len(pieces)]))
    tokens.update(dict.fromkeys(pieces))
    return TextTokenizer(_pipeline({token: number for number, token in enumerate(tokens)}))


def _pipeline(vocabulary: dict[str, int]) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token=_UNK_NAME, max_input_chars_per_word=_LONGEST_WORD)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(f"[{_IGNORED}]+"), ""),
            normalizers.NFKC(),
            normalizers.Replace("\u0130", "i"),
            normalizers.Lowercase(),
            *(normalizers.Replace(other, letter) for other, letter in REPLACED.items()),
        ]
    )
    # Vowel signs are no letters to \p{L}, and without them a word of many a script falls to pieces.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{Alphabetic}\p{N}]+"), "removed")
    return tokenizer


def _alphabet(pipeline: Tokenizer) -> Alphabet:
    return Alphabet(pipeline.normalizer.normalize_str, pipeline.pre_tokenizer.pre_tokenize_str)


def _encodable(text: str) -> str:
    """Replace lone surrogates (broken JSON escapes leave them), which have no UTF-8 form."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _count_words(texts: Iterable[str]) -> Counter[str]:
    pipeline = _pipeline({_PAD_NAME: PAD, _UNK_NAME: UNK})
    normalise, split = pipeline.normalizer.normalize_str, pipeline.pre_tokenizer.pre_tokenize_str
    alphabet, counts = _alphabet(pipeline), Counter[str]()
    for text in texts:
        for part in alphabet.slices(_encodable(text)):
            normalised = normalise(part)
            plain = normalised.isascii()
            counts.update(_WORD.findall(normalised) if plain else (word for word, _ in split(normalised)))
        if len(counts) > _MOST_WORDS:
            counts = Counter({word: count for word, count in counts.items() if count > 1})
    return Counter({word: count for word, count in counts.items() if len(word) <= _LONGEST_WORD})


def _learn_pieces(words: list[str], size: int) -> list[str]:
    """Learn word pieces from distinct words, each counted once: pieces serve the words that are rare or unseen.

    By byte-pair merges, because the WordPiece trainer numbers its characters in an order that differs from process to
    process, and with it the merges. Each piece may begin a word or go on with one.
    """
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    room = max(1, size // 2)
    counts = Counter(character for word in words for character in word)
    alphabet = sorted(counts, key=lambda c: (-counts[c], c))[: min(_MOST_CHARACTERS, room)]
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=2,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(words, trainer)
    pieces = sorted(learner.get_vocab(), key=lambda piece: (len(piece), piece))[:room]
    return [form for piece in pieces for form in (piece, f"##{piece}")]
