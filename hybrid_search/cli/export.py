"""``hybrid-search export``: a model's files for another runtime."""

from __future__ import annotations

from pathlib import Path

import click

from hybrid_search.cli.output import facts

__all__ = ["command"]


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="What to write.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.  [default: MODEL-onnx]"
)
def command(model: Path, form: str, out: Path | None) -> None:
    """Write what a program needs to encode texts without this package: two ONNX files and the tokenizer.

    The files are checked against the model's hashes. query.onnx and document.onnx take `input_ids` and
    `attention_mask` (int64, (batch, time), padded with 0) and give `sentence_embedding` (float32, (batch, dimension)).

    \b
    Example:
      hybrid-search export ./model --format onnx --out ./towers
    """  # noqa: D301
    from hybrid_search.workflows.inspecting import export_onnx

    target = out or model.parent / f"{model.resolve().name or 'model'}-{form}"
    facts({"format": form, "folder": str(target), "files": export_onnx(model, target)}, "table")
