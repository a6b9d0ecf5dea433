"""A task that towers can only solve by learning: query words and document words that never meet, paired by topic."""

import numpy as np
import torch

from hybrid_search.settings.training import TowerConfig, TrainConfig
from hybrid_search.towers.networks.two_tower import TwoTower
from hybrid_search.training.data.arrays import Corpus, Tokens, TrainingData, build_training_data, build_validation_data
from hybrid_search.types import Document, Example, Query

TOPICS = 12
VOCABULARY = 8 * (TOPICS + 1)

TOWERS = TowerConfig(
    hidden=8,
    dimension=16,
    embedding_dimension=16,
    head_hidden=16,
    dropout=0.1,
    max_query_tokens=8,
    max_document_tokens=24,
)
TRAINING = TrainConfig(
    epochs=6,
    batch_size=8,
    learning_rate=1e-2,
    embedding_learning_rate=3e-2,
    negatives=((0.0, {"random": 1.0}),),
    evaluate_every=12,
    checkpoint_every=5,
    patience=0,
    threads=1,
    self_supervised=1.0,
    temperature=0.1,
)


def encode(texts):
    return [np.array([int(word) for word in text.split()], dtype=np.int32) for text in texts]


def example(topic, generator, number):
    first = 8 * (topic + 1)
    query = " ".join(map(str, generator.integers(first, first + 4, 4)))
    text = " ".join(map(str, generator.integers(first + 4, first + 8, 18)))
    return Example(Query(f"q{number}", query), Document(f"d{number}", text))


def examples(count, seed):
    generator = np.random.default_rng(seed)
    made = [example(number % TOPICS, generator, f"{seed}-{number}") for number in range(count)]
    return list({e.query.text: e for e in made}.values())


def score(one, other):
    return 5.0 if int(one.query.text.split()[0]) // 8 == int(other.query.text.split()[0]) // 8 else -5.0


def training_data(*, with_teacher=False) -> TrainingData:
    """Training and validation data; the teacher knows each query's topic."""
    labelled = examples(96, 0)
    teacher = {e.query.id: {o.positive.id: score(e, o) for o in labelled} for e in labelled} if with_teacher else None
    tokens = Tokens(encode, encode)
    validation = build_validation_data(
        examples(24, 1), tokens, positives={}, others=[], max_queries=24, max_documents=100, seed=0
    )
    return build_training_data(
        labelled,
        tokens,
        Corpus(lambda ids: []),
        positives={},
        negatives={},
        teacher=teacher,
        validation=validation,
    )


def towers(config=TOWERS) -> TwoTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return TwoTower(config, VOCABULARY)
