"""Lay rows of ``microsoft/ms_marco`` (JSON lines) out as the hub does: parquet files and a README.md that names them.

    python examples/make_hub_folder.py sample.jsonl folder
    hybrid-search train ms_marco --path folder --out model

Every tenth row goes to ``validation``, the one after it to ``test``, all others to ``train``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
import pyarrow
import pyarrow.parquet

SPLITS = ("train", "validation", "test")
_README = """\
---
configs:
- config_name: {config}
  data_files:
{files}
---
Rows in the layout of microsoft/ms_marco, made by make_hub_folder.py.
"""


def make_hub_folder(rows: Path, folder: Path, config: str = "v1.1") -> dict[str, int]:
    """Write the rows of JSON-lines files into a folder in the hub's layout.

    :param rows: a file, or a folder with ``*.jsonl`` files.
    :param folder: made if it is not there; files of the same names are overwritten.
    :return: split -> number of rows.
    """
    by_split: dict[str, list[object]] = {split: [] for split in SPLITS}
    files = sorted(rows.glob("*.jsonl")) if rows.is_dir() else [rows]
    lines = (line for file in files for line in file.read_bytes().splitlines())
    for number, line in enumerate(lines):
        by_split[{0: "validation", 1: "test"}.get(number % 10, "train")].append(msgspec.json.decode(line))
    (folder / config).mkdir(parents=True, exist_ok=True)
    for split, records in by_split.items():
        table = pyarrow.Table.from_pylist(records)
        pyarrow.parquet.write_table(table, folder / config / f"{split}-00000-of-00001.parquet")
    named = "\n".join(f"  - split: {split}\n    path: {config}/{split}-*" for split in SPLITS)
    (folder / "README.md").write_text(_README.format(config=config, files=named), encoding="utf-8")
    return {split: len(records) for split, records in by_split.items()}


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description="Lay JSON-lines rows of microsoft/ms_marco out as the hub does.")
    parser.add_argument("rows", type=Path, help="a JSON-lines file, or a folder of *.jsonl files")
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--config", default="v1.1", help="name of the configuration (default: v1.1)")
    arguments = parser.parse_args()
    if not arguments.rows.exists():
        parser.error(f"{arguments.rows} does not exist; give a JSON-lines file, or a folder of *.jsonl files")
    counts = make_hub_folder(arguments.rows, arguments.folder, arguments.config)
    sys.stdout.write(", ".join(f"{split} {count}" for split, count in counts.items()) + "\n")


if __name__ == "__main__":
    main()
