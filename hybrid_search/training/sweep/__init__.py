"""Sweeps over settings of a training: what may be tried (``space``), what was tried (``study``), trials (``run``)."""
