"""Its place puts this folder on the import path, so that tests can share ``fakes``."""

import os

pytest_plugins = ["node.plugin", "node.extra_nodes"]

# As the command line does, and for the same reason: the machine may have other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
