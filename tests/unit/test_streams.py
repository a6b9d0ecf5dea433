from hybrid_search.streams import in_batches, in_sized_batches


def test_a_stream_is_cut_into_full_batches_and_a_rest() -> None:
    assert list(in_batches(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_an_empty_stream_gives_no_batch() -> None:
    assert list(in_batches([], 3)) == []


def test_sized_batches_are_bounded_by_count_and_size_and_a_large_item_comes_alone() -> None:
    items = ["a", "bb", "c", "dddddd", "e", "f", "g", "h"]
    assert list(in_sized_batches(items, 3, 4, len)) == [["a", "bb", "c"], ["dddddd"], ["e", "f", "g"], ["h"]]
    assert list(in_sized_batches([], 3, 4, len)) == []
