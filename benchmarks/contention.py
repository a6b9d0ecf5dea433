"""What does a training step cost on cores that other processes use too, by number of threads and how they wait?

Starts two processes that do nothing but count, then times a GRU's forward and backward pass in fresh processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.harness import write_result

STEP = """
import time, torch
torch.manual_seed(0)
gru, texts = torch.nn.GRU(192, 128, batch_first=True), torch.randn(64, 80, 192)
times = []
for _ in range(9):
    started = time.perf_counter()
    gru(texts)[0].sum().backward()
    times.append((time.perf_counter() - started) * 1000)
print(sorted(times)[len(times) // 2])
"""
RUNS = 3


def main() -> None:
    """Time both policies, alone and beside a busy loop on every core."""
    figures: dict[str, float] = {}
    for busy in (False, True):
        count = os.cpu_count() or 1
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count if busy else 0)]
        try:
            for policy, threads in (("ACTIVE", count), ("PASSIVE", count), ("PASSIVE", 1)):
                name = f"{threads} threads, {policy.lower()}, {'cores busy' if busy else 'cores idle'}: ms a step"
                figures[name] = round(statistics.median(_step(policy, threads) for _ in range(RUNS)), 1)
        finally:
            for other in others:
                other.kill()
    write_result("contention", figures, command="python -m benchmarks.contention")


def _step(policy: str, threads: int) -> float:
    environment = {**os.environ, "OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", STEP], env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
