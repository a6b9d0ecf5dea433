"""What is sent for a document: short decimals that lose nothing, base64 as OpenSearch 3.8 reads it."""

from __future__ import annotations

import base64
import struct

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.engines.opensearch.index.document_json import as_base64, as_decimals, item_of, vector_values
from hybrid_search.types import Document

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_a_float32_is_written_with_few_digits() -> None:
    row = as_decimals(np.array([[0.1, -0.5, 0.0, 1 / 3, 2.0, 0.044194173]], np.float32))[0]
    assert msgspec.json.encode(row) == b"[0.1000000015,-0.5,0.0,0.333333343,2.0,0.0441941731]"


@given(st.lists(FLOATS, min_size=1, max_size=8))
def test_every_float32_is_read_back_as_itself(values: list[float]) -> None:
    vectors = np.array([values], np.float32)
    sent = msgspec.json.encode(as_decimals(vectors))
    assert np.array_equal(np.array(msgspec.json.decode(sent), np.float32), vectors)


def test_base64_is_that_of_little_endian_floats() -> None:
    # 1.0 is 0000803f and -2.0 is 000000c0, lowest byte first.
    assert as_base64(np.array([[1.0, -2.0]], np.float32)) == [
        base64.b64encode(bytes.fromhex("0000803f000000c0")).decode()
    ]
    assert base64.b64decode(as_base64(np.array([[0.1]], np.float32))[0]) == struct.pack("<f", 0.1)


def test_a_zero_row_stands_for_no_vector() -> None:
    vectors = np.array([[0, 0], [1, 0]], np.float32)
    assert vector_values(vectors, [1, 0], base64=False) == [[1.0, 0.0], None]
    assert vector_values(vectors, [1, 0], base64=True) == ["AACAPwAAAAA=", None]
    assert vector_values(None, [0, 1], base64=False) == [None, None]


def test_an_item_is_two_lines_and_takes_another_place_without_being_encoded_again() -> None:
    document = Document("a", 'say "x"', "t", {"year": 2020, "a.b": "c"})
    item = item_of(document, [1.0, 0.5], 7)
    action, source = item.lines("create")
    assert action == b'{"create":{"_id":"a"}}'
    assert msgspec.json.decode(source) == {
        "added": 7, "id": "a", "text": 'say "x"', "title": "t", "metadata": {"year": 2020, "a%2Eb": "c"},
        "vector": [1.0, 0.5],
    }  # fmt: skip
    assert item.lines("index", 3) == (b'{"index":{"_id":"a"}}', source.replace(b'"added":7', b'"added":3'))
    assert item_of(document, "AACAPw==", 7).lines("create")[1].endswith(b'"vector":"AACAPw=="}')
