"""Towers as ONNX graphs: writing them from torch, running them, packing them for a cluster."""
