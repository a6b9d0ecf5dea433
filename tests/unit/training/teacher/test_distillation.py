import pytest

from hybrid_search.errors import DataError
from hybrid_search.training.teacher.scores import read_teacher_scores


def test_json_lines_and_tab_separated_lines_are_read(tmp_path):
    path = tmp_path / "scores"
    path.write_text('{"query_id": "q1", "document_id": "d1", "score": 2.5}\nq1\td2\t-1\n\nq2\td1\t3e-1\n')
    assert read_teacher_scores(path, pytest.fail) == {"q1": {"d1": 2.5, "d2": -1.0}, "q2": {"d1": 0.3}}


def test_bad_lines_are_named_and_the_rest_is_read(tmp_path):
    path = tmp_path / "scores.tsv"
    path.write_text('q1\td1\t1\nq1\td2\nq1\td3\tmuch\nq1\td4\tnan\n{"query_id": "q1"}\n')
    rejected = []
    assert read_teacher_scores(path, rejected.append) == {"q1": {"d1": 1.0}}
    assert [r.line for r in rejected] == [2, 3, 4, 5]
    assert "wanted 3" in rejected[0].reason
    assert "finite" in rejected[2].reason
    assert "document_id" in rejected[3].reason


def test_a_file_without_scores_is_refused_and_says_what_a_line_looks_like(tmp_path):
    path = tmp_path / "scores.tsv"
    path.write_text("\n")
    with pytest.raises(DataError, match="no teacher score in it; a line is"):
        read_teacher_scores(path, pytest.fail)
