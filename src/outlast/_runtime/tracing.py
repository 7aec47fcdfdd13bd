"""OpenTelemetry: spans of starts and steps, and metrics, where its API is installed and a provider is set.

Names follow the semantic conventions for messaging where these fit
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from outlast._model import Claim, NewInstance
from outlast._runtime.events import Events

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Span, Tracer

Ended = Callable[[str | None, str | None], None]
"""Takes the kind of a step's outcome and its error, as stored JSON."""


class Tracing:
    """Makes spans. The context of a start is stored with the instance, and each of its steps is linked to it."""

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._nothing = Context()
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def context(self) -> str | None:
        """The current trace context as W3C `traceparent`, or None."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    @contextmanager
    def start(self, rows: Sequence[NewInstance]) -> Iterator[None]:
        """A span around the insertion of rows, which are to carry its context."""
        programs = {row.program for row in rows}
        name = next(iter(programs)) if len(programs) == 1 else f"{len(programs)} programs"
        attributes: dict[str, Any] = {"messaging.system": "outlast", "messaging.operation.type": "send"}
        if len(rows) == 1:
            attributes |= _of_instance(rows[0].id, rows[0].program, rows[0].version, rows[0].queue)
        else:
            attributes["messaging.batch.message_count"] = len(rows)
        kind = self._trace.SpanKind.PRODUCER
        with _forgiven(lambda: self._tracer.start_as_current_span(f"start {name}", kind=kind, attributes=attributes)):
            context = self.context()
            for row in rows:
                row.trace = context
            yield

    @contextmanager
    def step(self, claim: Claim, queue: str) -> Iterator[Ended]:
        """A span around a step, which is the current one for the step's own code."""
        attributes = _of_instance(claim.id, claim.program, claim.version, queue) | {
            "messaging.system": "outlast",
            "messaging.operation.type": "process",
            "outlast.step": claim.step,
            "outlast.attempt": claim.attempt,
            "outlast.crashes": claim.crashes,
        }
        span_of = self._tracer.start_as_current_span
        with _forgiven(
            lambda: span_of(
                f"{claim.program} {claim.step}",
                context=self._nothing,  # a step is nobody's child: its start may be days ago.
                kind=self._trace.SpanKind.CONSUMER,
                attributes=attributes,
                links=self._links(claim.trace),
            )
        ) as span:
            yield lambda kind, error: self._end(span, kind, error)

    def _links(self, traceparent: str | None) -> list[Any]:
        if traceparent is None:
            return []
        context = self._propagator.extract({"traceparent": traceparent})
        started = self._trace.get_current_span(context).get_span_context()
        return [self._trace.Link(started)] if started.is_valid else []

    def _end(self, span: Span | None, kind: str | None, error: str | None) -> None:
        if span is None:
            return
        with suppress(Exception):
            span.set_attribute("outlast.outcome", kind or "stopped")
            if error is not None and kind in ("failed", "retry", "quarantined"):
                span.set_status(self._trace.StatusCode.ERROR, error[:500])


@contextmanager
def _forgiven(made: Callable[[], AbstractContextManager[Span]]) -> Iterator[Span | None]:
    """A span, or None where the provider raises: that must cost no start, no step and no slot."""
    stack = ExitStack()
    span: Span | None = None
    with suppress(Exception):
        span = stack.enter_context(made())
    try:
        yield span
    except BaseException as error:
        with suppress(Exception):
            stack.__exit__(type(error), error, error.__traceback__)
        raise
    with suppress(Exception):
        stack.close()


def _of_instance(id: str, program: str, version: int, queue: str) -> dict[str, Any]:
    return {
        "messaging.destination.name": queue,
        "messaging.message.id": id,
        "outlast.program": program,
        "outlast.version": version,
    }


class Metrics:
    """Counts what the engine reports."""

    def __init__(self, meter: Meter) -> None:
        count, measure = meter.create_counter, meter.create_histogram
        self._starts = count("outlast.instances.started", "{instance}", "Instances inserted")
        self._ends = count("outlast.instances.ended", "{instance}", "Instances that ended, by status")
        self._steps = measure("outlast.step.duration", "s", "Duration of steps, by what came of them")
        self._claims = measure("outlast.claim.duration", "s", "Duration of claims that took something")
        self._commits = measure("outlast.commit.duration", "s", "Duration of commits")
        self._batch = measure("outlast.commit.size", "{outcome}", "Outcomes that shared a commit")
        self._signals = count("outlast.signals.sent", "{signal}", "Signals sent, by result")
        self._denied = count("outlast.claims.denied", "{claim}", "Claims that a limit held back")
        self._reclaimed = count("outlast.claims.reclaimed", "{claim}", "Claims taken back from dead processes")
        self._stale = count("outlast.claims.stale", "{claim}", "Outcomes refused, since others had taken over")

    def heard(self, name: str, fields: Mapping[str, Any]) -> None:
        """Listens to the engine."""
        match name:
            case "step.stop":
                kept = {key: fields[key] for key in ("program", "step", "queue")}
                self._steps.record(fields["duration_s"], kept | {"kind": fields["kind"] or "stopped"})
            case "instance.started":
                self._starts.add(1, {"program": fields["program"], "queue": fields["queue"]})
            case "instance.ended":
                self._ends.add(1, {key: fields[key] for key in ("program", "queue", "status")})
            case "claim.stop":
                self._claims.record(fields["duration_s"], {"queue": fields["queue"]})
            case "commit.stop":
                self._commits.record(fields["duration_s"])
                self._batch.record(fields["count"])
            case "signal.sent":
                self._signals.add(1, {"result": fields["result"]})
            case "concurrency.denied" | "rate.denied":
                self._denied.add(fields["count"], {"by": name.partition(".")[0], "queue": fields["queue"]})
            case "claims.reclaimed":
                self._reclaimed.add(fields["returned"] + fields["quarantined"])
            case "claim.stale":
                self._stale.add(1, {"program": fields["program"]})


def make_tracing() -> Tracing | None:
    """Spans, if OpenTelemetry's API is installed and a tracer provider is set by now; else None."""
    if importlib.util.find_spec("opentelemetry") is None:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return None
    return Tracing(provider.get_tracer("outlast"))


def measure(events: Events) -> Callable[[], None] | None:
    """Metrics of an engine's events, if OpenTelemetry's API is installed and a meter provider is set by now.

    Returns what ends it, or None.
    """
    if importlib.util.find_spec("opentelemetry") is None:
        return None
    from opentelemetry import metrics

    provider = metrics.get_meter_provider()
    if type(provider).__name__ in ("_ProxyMeterProvider", "NoOpMeterProvider"):
        return None
    return events.listen(Metrics(provider.get_meter("outlast")).heard)
