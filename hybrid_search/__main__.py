"""``python -m hybrid_search`` is ``hybrid-search``."""

from hybrid_search.cli import main

main()
