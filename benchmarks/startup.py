"""How long does it take until the package is imported, and until ``--help`` is there?"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from benchmarks.harness import ROOT, write_result

RUNS = 15
CASES = {
    "python": ["-c", "pass"],
    "import hybrid_search": ["-c", "import hybrid_search"],
    "hybrid-search --help": ["-m", "hybrid_search", "--help"],
}


def main() -> None:
    """Time whole processes, interleaved, and subtract nothing."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(RUNS):
        for name, arguments in CASES.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            times[name].append((time.perf_counter() - started) * 1_000)
    figures = {f"{name} ms p50": round(float(np.median(values)), 1) for name, values in times.items()}
    write_result("startup", figures, command="python -m benchmarks.startup")


if __name__ == "__main__":
    main()
