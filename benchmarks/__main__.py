"""Run the speed benchmarks one after another: ``python -m benchmarks``."""

from benchmarks import encoding, mining, search, startup

if __name__ == "__main__":
    for module in (startup, encoding, mining, search):
        print(f"== {module.__doc__}")
        module.main()
