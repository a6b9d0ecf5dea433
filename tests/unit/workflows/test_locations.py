from pathlib import Path

import pytest

from hybrid_search.errors import UnsupportedCapability, UsageError
from hybrid_search.workflows.locations import folder_of


def test_a_path_is_a_folder() -> None:
    assert folder_of("./indexes/passages") == Path("indexes/passages")


def test_a_cluster_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedCapability, match="opensearch://localhost:9200/a"):
        folder_of("opensearch://localhost:9200/a")


def test_another_scheme_is_no_location() -> None:
    with pytest.raises(UsageError, match="s3://bucket"):
        folder_of("s3://bucket/index")
