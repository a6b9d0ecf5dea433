"""ONNX Runtime: the one way in, so that its telemetry is off before it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from hybrid_search.telemetry import is_off

__all__ = ["open_session", "quantise"]

# The variable does it where it is set before the library loads; this where our caller had loaded it before us.
if is_off("ORT_DISABLE_TELEMETRY"):
    onnxruntime.disable_telemetry_events()


def open_session(model: Path | bytes, *, threads: int = 1) -> Any:
    """Open a network to run on the CPU.

    :param model: a file, or the content of one.
    :param threads: that a run uses. Recurrent steps are too small to split: rather several runs at a time.
    :raises Exception: what ONNX Runtime raises, nothing narrower, if the network can't be loaded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def quantise(model: Path, small: Path) -> None:
    """Write a network with its weights as 8-bit numbers, scaled by channel.

    :raises Exception: what ONNX Runtime raises, if the network has parts that do not convert.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(model), str(small), weight_type=QuantType.QInt8, per_channel=True)
