"""ONNX Runtime; imported only through this module, so that its telemetry is off before it loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from hybrid_search.telemetry import is_off

__all__ = ["open_session", "quantise"]

# The variable works if it was set before the library loads; this call, if the library was loaded before this package.
if is_off("ORT_DISABLE_TELEMETRY"):
    onnxruntime.disable_telemetry_events()


def open_session(model: Path | bytes, *, threads: int = 1) -> Any:
    """Load a network to be run on the CPU.

    :param model: a file, or the content of one.
    :param threads: used by one run. Recurrent steps are too small to be split; rather run several batches concurrently.
    :raises Exception: of any class, as ONNX Runtime raises it, if the network can't be loaded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def quantise(model: Path, small: Path) -> None:
    """Write a network with 8-bit weights, scaled by channel.

    :raises Exception: of any class, as ONNX Runtime raises it, if the network has parts that can't be converted.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(model), str(small), weight_type=QuantType.QInt8, per_channel=True)
