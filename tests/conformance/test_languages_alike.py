"""Texts of other languages have the same terms and the same scores on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from asked import by_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node.server import Server

from hybrid_search.analysis import analyzer, analyzer_of, languages
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.location import Address
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

TEXTS = {
    "de": ["Die Größe der Bäume im Wald", "Straßen und STRASSEN führen nach Köln", "Der Baum trägt Äpfel"],
    "es": ["Los libros de las canciones", "La canción del niño", "un libro"],
    "fr": ["Les données chiffrées", "l'été des Français", "donnée perdue"],
    "nl": ["De katten lezen boeken", "een kat en het boek", "één eigen huis"],
    "sv": ["Bilarna står i skogen", "en bils dörr", "Åarna och öarna"],
    "no": ["Husene på øya", "husets dør", "Båten og båtene"],
    "da": ["Husenes døre", "et hus på øen", "Bådene og båden"],
    "fi": ["Metsässä on kettu ja karhu", "Öljyn hinta nousi yöllä", "Kettu juoksi metsään"],
    "ar": ["الكتاب على الطاولة", "كُتُب جديدة في المكتبة", "ذهب الولد إلى المدرسة"],
    "any": ["हिन्दी भारत की राजभाषा है", "किताब मेज़ पर है", "भारत में कई भाषाएँ हैं", "Café à la crème"],
    "tr": ["İstanbul'da kitaplar ve ağaçlar", "Işık hızı ölçüldü", "Kitabın kapağı kırmızı"],
    "cjk": [
        "東京都の天気は晴れです",
        "京都の猫とｶﾞｽ会社",
        "北京大学的学生",
        "서울의 날씨는 맑다",
        "東京Tower parseHTTP",
    ],
    "it": ["La velocità delle città italiane", "Il libro è sul tavolo"],
    "ru": ["Красивая Москва весной", "ёлка и ель в лесу"],
}
ASKED = {
    "de": ["baum wald", "strassen", "GRÖSSE", "köln"],
    "es": ["libro", "cancion"],
    "fr": ["donné", "francaise été"],
    "nl": ["kat boeken", "een"],
    "sv": ["bil", "ån skogarna"],
    "no": ["hus", "båt dører"],
    "da": ["huset dør", "bådenes"],
    "fi": ["kettu", "metsässä", "öljyn"],
    "ar": ["الكتاب", "كتب", "المدرسة"],
    "any": ["भारत", "किताब", "cafe creme"],
    "tr": ["istanbul kitap", "hızı", "kitabın"],
    "cjk": ["京都", "東京都", "ガス", "大学", "서울", "tower http"],
    "it": ["città", "libri velocità"],
    "ru": ["красивый", "елка ёлка"],
}


@pytest.mark.opensearch
@pytest.mark.parametrize("language", TEXTS)
def test_both_engines_give_the_same_scores(language: str, make_embedded, make_opensearch) -> None:
    found = []
    for make in (make_embedded, make_opensearch):
        engine = make(IndexSettings(analyzer=analyzer_of(language)))
        engine.add([Document(f"d{n}", text) for n, text in enumerate(TEXTS[language])], None)
        engine.commit()
        found.append(by_text(engine, ASKED[language], 10))
    for ours, theirs in zip(*found, strict=True):
        assert ours.ids
        assert ours.ids == theirs.ids
        assert ours.scores == pytest.approx(theirs.scores, rel=1e-6)


@pytest.fixture(scope="module")
def server_of_languages(opensearch_server: Server) -> Iterator[Client]:
    with closing(Client(Address.parse(f"{opensearch_server.location}/languages"))) as client:
        client.call("DELETE", "/languages", ignore_unavailable="true")
        whole: dict[str, dict[str, object]] = {}
        for name in languages().values():
            for part, entries in analyzer(name).for_opensearch().items():
                whole.setdefault(part, {}).update(entries)
        client.call("PUT", "/languages", {"settings": {"analysis": whole}})
        yield client
        client.call("DELETE", "/languages")


WORDS = [word for texts in (*TEXTS.values(), *ASKED.values()) for text in texts for word in text.split()]
MIXED = st.lists(
    st.one_of(
        st.sampled_from(WORDS), st.sampled_from(["々", "〆", "ー", "\u3099", "ｶﾞ", "a", "B", " ", "²", "\U00020000"])
    ),
    max_size=15,
).map("".join)


@pytest.mark.opensearch
@pytest.mark.parametrize("language", [language for language in languages() if language != "en"])
def test_a_server_makes_the_same_terms_of_any_text(language: str, server_of_languages: Client) -> None:
    name = analyzer_of(language)
    terms_of = analyzer(name).terms_of()

    @given(MIXED)
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def holds(text: str) -> None:
        answer = server_of_languages.call("POST", "/languages/_analyze", {"analyzer": name, "text": text or " "})
        assert [one["token"] for one in answer["tokens"]] == terms_of(text)

    holds()
