"""Which words do the light stems of a language join, and which does its Snowball stemmer?

Over the words of the machine's message catalogues (``/usr/share/locale``), which are translations of real programs.
"""

from __future__ import annotations

import gettext
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import tantivy

from benchmarks.harness import write_result
from hybrid_search.analysis import ANALYZERS, analyzer, analyzer_of, languages

CATALOGUES = Path("/usr/share/locale")
FOLDERS = {"no": "nb"}
WORD = re.compile(r"[^\W\d_]{3,}")


def main() -> None:
    """Count pairs of different words with one stem: by Snowball, by the light stems, by both."""
    light = [language for language in languages() if analyzer(analyzer_of(language)).suffixes]
    write_result(
        "light_stems", {language: _compared(language) for language in light}, command="python -m benchmarks.light_stems"
    )


def _compared(language: str) -> Mapping[str, float]:
    ours = analyzer(analyzer_of(language)).terms_of()
    named = next(one.suffixes for one in ANALYZERS.values() if one.name == analyzer_of(language))
    lower = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    snowball = lower.filter(tantivy.Filter.stemmer(named)).build().analyze
    words = [word for word in _words(language) if len(snowball(word)) == len(ours(word)) == 1]
    by_snowball, by_ours = [snowball(word)[0] for word in words], [ours(word)[0] for word in words]
    theirs, mine, both = _pairs(by_snowball), _pairs(by_ours), _pairs(zip(by_snowball, by_ours, strict=True))
    return {
        "words": len(words), "pairs of Snowball": theirs, "pairs of light stems": mine, "pairs of both": both,
        "of Snowball's": round(both / theirs, 2), "also Snowball's": round(both / mine, 2),
    }  # fmt: skip


def _words(language: str) -> list[str]:
    found: Counter[str] = Counter()
    for file in sorted((CATALOGUES / FOLDERS.get(language, language) / "LC_MESSAGES").glob("*.mo")):
        with file.open("rb") as opened:
            try:
                messages = vars(gettext.GNUTranslations(opened))["_catalog"]
            except (OSError, UnicodeDecodeError):
                continue
        for message, translated in messages.items():
            if isinstance(translated, str) and translated != message:
                found.update(WORD.findall(translated.lower()))
    return sorted(found)


def _pairs(stems: Iterable[object]) -> int:
    count: dict[object, int] = defaultdict(int)
    for stem in stems:
        count[stem] += 1
    return sum(number * (number - 1) // 2 for number in count.values())


if __name__ == "__main__":
    main()
