"""Its place puts this folder on the import path, so that tests can share ``fakes``."""

import os
import signal

from hypothesis import HealthCheck, settings

import hybrid_search  # noqa: F401 - switches telemetry off before a test imports anything

pytest_plugins = ["node.plugin", "node.extra_nodes"]

# As the command line does, and for the same reason: the machine may have other work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell starts background jobs with SIGINT ignored, which tests of Ctrl-C and the processes they start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a drawn input takes says how busy the machine is, not whether the product is right.
settings.register_profile("on a busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("on a busy machine")
