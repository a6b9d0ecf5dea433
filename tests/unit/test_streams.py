from hybrid_search.streams import in_batches


def test_a_stream_is_cut_into_full_batches_and_a_rest() -> None:
    assert list(in_batches(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_an_empty_stream_gives_no_batch() -> None:
    assert list(in_batches([], 3)) == []
