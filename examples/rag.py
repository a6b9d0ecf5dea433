"""Answer a question from an index: search, put the passages into a prompt, let a language model write.

    hybrid-search quickstart
    python examples/rag.py quickstart/index "how are two paths joined"

The language model here is a stand-in that quotes the first passage, so that the example runs anywhere; give
:func:`answer` a function that asks your own.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence

import hybrid_search
from hybrid_search import Hit, HybridSearchError, Retriever

LanguageModel = Callable[[str], str]
"""Takes a prompt, returns what the model writes."""

PROMPT = """Answer the question from the passages alone, and name the ones you used in brackets, such as [1].
If they do not answer it, say so.

{passages}

Question: {question}
"""
LONGEST = 1_500
"""Characters of a passage in the prompt."""


def answer(retriever: Retriever, question: str, model: LanguageModel, *, k: int = 4) -> tuple[str, list[Hit]]:
    """Return what the model writes, and the passages that it was given; it is not asked if nothing was found."""
    hits = retriever.search(question, k)
    if not hits:
        return "Nothing in the index answers this.", []
    return model(prompt_of(question, hits)), hits


def prompt_of(question: str, hits: Sequence[Hit]) -> str:
    """Write the prompt, with the passages numbered from 1."""
    passages = [f"[{number}] {hit.title}\n{hit.text[:LONGEST]}" for number, hit in enumerate(hits, 1)]
    return PROMPT.format(passages="\n\n".join(passages), question=question)


def first_sentence(prompt: str) -> str:
    """Stand in for a language model: quote the first passage's first sentence."""
    passage = prompt.partition("[1] ")[2].partition("\n\n[2] ")[0].partition("\n")[2]
    sentence = re.split(r"(?<=[.!?])\s", " ".join(passage.split()), maxsplit=1)[0]
    return f"{sentence} [1]"


def main() -> int:
    """Answer one question."""
    parser = argparse.ArgumentParser(description="Answer a question from an index.")
    parser.add_argument("location", help="an index: a folder, or opensearch://host:9200/index")
    parser.add_argument("question")
    arguments = parser.parse_args()
    try:
        with hybrid_search.open(arguments.location) as retriever:
            written, hits = answer(retriever, arguments.question, first_sentence)
    except HybridSearchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{written}\n")
    for number, hit in enumerate(hits, 1):
        sys.stdout.write(f"[{number}] {hit.id}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
