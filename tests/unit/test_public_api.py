import subprocess
import sys

import hybrid_search


def test_the_public_names_are_sorted_and_all_resolve() -> None:
    assert hybrid_search.__all__ == sorted(hybrid_search.__all__, key=lambda name: (not name[0].isupper(), name))
    for name in hybrid_search.__all__:
        assert getattr(hybrid_search, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    code = "import hybrid_search; hybrid_search.nosuch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'hybrid_search' has no attribute 'nosuch'" in done.stderr


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert version("hybrid-search-towers") == hybrid_search.__version__
