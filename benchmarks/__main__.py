"""Run the speed benchmarks one after another: ``python -m benchmarks``."""

from benchmarks import encoding, mining, search, startup

for module in (startup, encoding, mining, search):
    print(f"== {module.__doc__}")
    module.main()
