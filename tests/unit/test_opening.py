from pathlib import Path

import pytest

from hybrid_search.errors import UnsupportedCapability, UsageError
from hybrid_search.opening import folder_of


def test_a_path_is_a_folder() -> None:
    assert folder_of("./indexes/passages") == Path("indexes/passages")


def test_a_cluster_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedCapability, match="opensearch://localhost:9200/a"):
        folder_of("opensearch://localhost:9200/a")


def test_another_scheme_is_no_location() -> None:
    with pytest.raises(UsageError, match="s3://bucket"):
        folder_of("s3://bucket/index")


@pytest.mark.parametrize(
    "location",
    ["opensearch:/me:PW@host:9200/a", "opensearch:host/a", "localhost:9200", "127.0.0.1:9200/a", "me:PW@host:9200/a"],
)
def test_a_servers_location_that_was_mistyped_makes_no_folder(location: str) -> None:
    with pytest.raises(UsageError, match="opensearch://host:9200/index") as caught:
        folder_of(location)
    assert "PW" not in str(caught.value)


@pytest.mark.parametrize("location", ["./a:b", "index:1", "C:\\index", "my.index", "a@b"])
def test_other_names_stay_folders(location: str) -> None:
    assert folder_of(location) == Path(location)
