import inspect
import sys

import pytest

from hybrid_search import loaders, protocols
from hybrid_search.errors import DataError, MissingExtra, UsageError
from hybrid_search.loaders.dataset import Dataset


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """Install a package that registers the given loaders, as pip would."""

    def install(package, source, **points):
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[hybrid_search.loaders]\n{lines}")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


def test_the_built_in_loaders_are_found_through_entry_points():
    assert set(loaders.available()) >= {"beir", "jsonl", "ms_marco", "msmarco_passage", "python_docs"}
    assert loaders.available() == sorted(loaders.available())


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="there is no loader 'msmarco'; installed are: beir, files, jsonl, ms_marco"):
        loaders.open_dataset("msmarco", None, reject=pytest.fail)


def test_a_third_partys_loader_is_opened_like_a_built_in_one(third_party, tmp_path):
    third_party(
        "recipes", "def open_dataset(path, *, reject, config=''): return path, config", soups="recipes:open_dataset"
    )
    assert "soups" in loaders.available()
    assert loaders.open_dataset("soups", tmp_path, reject=pytest.fail, config="hot") == (tmp_path, "hot")


def test_a_broken_loader_breaks_only_itself(third_party, write):
    third_party("broken", "raise RuntimeError('boom')", broken="broken:open_dataset")
    path = write("mine.jsonl", '{"id": "a", "text": "x"}\n')
    assert "broken" in loaders.available()
    assert len(list(loaders.open_dataset("jsonl", path, reject=pytest.fail).documents())) == 1
    with pytest.raises(DataError, match=r"'broken' of the package broken .* can't be imported: RuntimeError: boom"):
        loaders.open_dataset("broken", path, reject=pytest.fail)


def test_a_loaders_own_error_is_kept(third_party):
    source = "from hybrid_search.errors import MissingExtra\nraise MissingExtra('pandas', 'tables')"
    third_party("needy", source, needy="needy:open_dataset")
    with pytest.raises(MissingExtra, match="pandas is not installed"):
        loaders.open_dataset("needy", None, reject=pytest.fail)


def test_two_packages_with_one_name_are_a_clash_that_names_both(third_party):
    third_party("rival", "", python_docs="rival:open_dataset")
    with pytest.raises(
        UsageError, match=r"several packages: hybrid_search\.loaders\.python_docs:open_dataset, rival:open_dataset"
    ):
        loaders.open_dataset("python_docs", None, reject=pytest.fail)


def test_a_bad_line_that_is_read_twice_is_rejected_once(write, rejected):
    dataset = loaders.open_dataset("jsonl", write("mine.jsonl", "{\n"), reject=rejected.append)
    assert [list(dataset.documents()) for _ in range(2)] == [[], []]
    assert len(rejected) == 1


def test_the_restated_protocol_is_the_librarys():
    def members(protocol):
        names = sorted(name for name in vars(protocol) if not name.startswith("_"))
        functions = {name: getattr(protocol, name) for name in names}
        return {name: inspect.signature(getattr(function, "fget", function)) for name, function in functions.items()}

    assert members(Dataset) == members(protocols.Dataset)
