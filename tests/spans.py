"""OpenTelemetry's own in-memory exporter: the spans that a block of a test recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

__all__ = ["Recorded", "recorded"]


@dataclass
class Recorded:
    """The finished spans, in the order in which they ended."""

    spans: Sequence[ReadableSpan] = ()

    def named(self, name: str) -> ReadableSpan:
        [one] = [span for span in self.spans if span.name == name]
        return one

    def under(self, parent: str) -> list[str]:
        """The names of a span's children, in the order in which they began."""
        id = self.named(parent).context.span_id
        children = [span for span in self.spans if span.parent is not None and span.parent.span_id == id]
        return [span.name for span in sorted(children, key=lambda span: span.start_time or 0)]

    def texts(self) -> str:
        """What the spans say."""
        told = ((span.name, dict(span.attributes or {}), span.events, span.status.description) for span in self.spans)
        return "\n".join(map(repr, told))


class _Switch(Sampler):
    """A process has one provider for good, so it records nothing outside of the tests that want it."""

    on = False

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, links: Any = None
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE if self.on else Decision.DROP, attributes)

    def get_description(self) -> str:
        return "while a test asks for it"


@cache
def _provided() -> tuple[_Switch, InMemorySpanExporter]:
    switch, exporter = _Switch(), InMemorySpanExporter()
    provider = TracerProvider(sampler=switch)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return switch, exporter


@contextmanager
def recorded() -> Iterator[Recorded]:
    """Record the spans of a block; they are there after it."""
    switch, exporter = _provided()
    seen = Recorded()
    exporter.clear()
    switch.on = True
    try:
        yield seen
    finally:
        switch.on = False
        seen.spans = exporter.get_finished_spans()
