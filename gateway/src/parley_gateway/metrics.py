"""Every metric of the gateway. `bootstrap` makes them; sessions, entrypoints, the store's queue and probes count."""

from collections.abc import Sequence
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from parley_gateway.conversation import ReplyOutcome
from parley_gateway.latency import STAGES, Latency
from parley_gateway.turns.actions import CancelReason
from parley_servicekit.link_client import LinkChannel

# The budget is 700 ms voice to voice, 1.2 s for the slowest; each stage has a part of it.
_VOICE_TO_VOICE_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
_STAGE_S = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7),
    *(0.85, 1.0, 1.2, 1.5, 2.0, 5.0),
)
_GAP_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_APPEND_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 1.0)
_BARGE_INS = {
    CancelReason.SPEECH: "speech",
    CancelReason.TEXT: "text",
    CancelReason.REQUEST: "interrupt",
    CancelReason.PUSH_TO_TALK: "push_to_talk",
}
SERVICES = ("asr", "llm", "tts")


class TurnOutcome(StrEnum):
    """What became of a committed turn."""

    ANSWERED = "answered"
    """Something of its reply was heard (in a text-only conversation: read), be it interrupted later."""
    SUPERSEDED = "superseded"
    """The person went on talking before anything was heard; the longer turn counts anew."""
    CANCELLED = "cancelled"
    """The person stopped it, typed, pressed push-to-talk or left before anything was heard."""
    FAILED = "failed"
    """Its reply failed, before or after something was heard."""


class GatewayMetrics:
    """Declared in `registry`. Labels have closed sets of values; none carries what a client sent."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sessions = Gauge("parley_gateway_sessions", "Sessions that are open.", registry=registry)
        self.session_slots = Gauge(
            "parley_gateway_session_slots", "Sessions that may be open at once.", registry=registry
        )
        self.refused_sessions = Counter(
            "parley_gateway_refused_sessions_total",
            "Sessions that were refused for lack of room.",
            registry=registry,
        )
        self.is_draining = Gauge(
            "parley_gateway_is_draining",
            "1 from the first SIGTERM on: new calls are refused, sessions are asked to leave.",
            registry=registry,
        )
        self._turns = Counter(
            "parley_gateway_turns_total",
            "Committed turns by what became of them; a revision of a turn counts by itself.",
            ["outcome"],
            registry=registry,
        )
        self._replies = Counter(
            "parley_gateway_replies_total", "Replies by how they ended.", ["outcome"], registry=registry
        )
        self._barge_ins = Counter(
            "parley_gateway_barge_ins_total",
            "Replies that were cut short while they could be heard (or read), by what cut them.",
            ["cause"],
            registry=registry,
        )
        self._heard = Histogram(
            "parley_gateway_heard_ratio",
            "Share of a reply's text, as far as it was written, that was heard; of replies that became audible.",
            buckets=_SHARES,
            registry=registry,
        )
        self._underruns = Counter(
            "parley_gateway_playback_underruns_total",
            "Times that a reply's audio ran dry at a client: as it reports, or by the playback clock.",
            registry=registry,
        )
        self._gaps = Histogram(
            "parley_gateway_playback_underrun_seconds",
            "How long audio was missing each time, by the playback clock.",
            buckets=_GAP_S,
            registry=registry,
        )
        self._stages = Histogram(
            "parley_gateway_stage_seconds",
            "The five consecutive segments from the last speech sample to the first reply sample; spoken turns.",
            ["stage"],
            buckets=_STAGE_S,
            registry=registry,
        )
        self._voice_to_voice = Histogram(
            "parley_gateway_voice_to_voice_seconds",
            "From the last speech sample to the first reply sample, the sum of the stages; spoken turns.",
            buckets=_VOICE_TO_VOICE_S,
            registry=registry,
        )
        self._upstream = Gauge(
            "parley_gateway_upstream_up",
            "1 while the service answers its health check and is serving, looked at every two seconds.",
            ["service"],
            registry=registry,
        )
        self._links = Gauge(
            "parley_gateway_upstream_links",
            "Links that take streams, one for each process of the service; without one, each call goes by itself.",
            ["service"],
            registry=registry,
        )
        self._link_streams = Gauge(
            "parley_gateway_upstream_link_streams",
            "Streams open on links to the service.",
            ["service"],
            registry=registry,
        )
        self.store_degraded = Gauge(
            "parley_gateway_store_degraded",
            "1 while something that was accepted is not in the store yet.",
            registry=registry,
        )
        self.store_queued_events = Gauge(
            "parley_gateway_store_queued_events",
            "Events that wait on the local disk for the store.",
            registry=registry,
        )
        self.store_append = Histogram(
            "parley_gateway_store_append_seconds",
            "How long it took until an event was safe, in the store or on the local disk.",
            buckets=_APPEND_S,
            registry=registry,
        )
        self._show_all_labels()

    def _show_all_labels(self) -> None:
        """Series begin at 0, so that the first event of a kind is an increase."""
        for turn_outcome in TurnOutcome:
            self._turns.labels(turn_outcome.value)
        for reply_outcome in ReplyOutcome:
            self._replies.labels(reply_outcome.value)
        for cause in _BARGE_INS.values():
            self._barge_ins.labels(cause)
        for stage in STAGES:
            self._stages.labels(stage)
        for service in SERVICES:
            self._upstream.labels(service)
            self._links.labels(service)
            self._link_streams.labels(service)

    def turn_ended(self, outcome: TurnOutcome) -> None:
        """A committed turn is over."""
        self._turns.labels(outcome.value).inc()

    def barge_in(self, reason: CancelReason) -> None:
        """A perceptible reply is cut short; a person who leaves does not barge in."""
        if reason in _BARGE_INS:
            self._barge_ins.labels(_BARGE_INS[reason]).inc()

    def reply_ended(self, outcome: ReplyOutcome, latency: Latency | None, trace_id: str | None) -> None:
        """A reply is over. latency: None where nothing was audible, or the turn was typed.

        trace_id: of the turn's trace, in hex, where it is traced: an example for the buckets.
        """
        self._replies.labels(outcome.value).inc()
        if latency is None:
            return
        exemplar = None if trace_id is None else {"trace_id": trace_id}
        for stage, value_ms in latency.stages_ms().items():
            self._stages.labels(stage).observe(value_ms / 1000, exemplar)
        self._voice_to_voice.observe(latency.voice_to_voice_ms / 1000, exemplar)

    def reply_played(self, heard_ratio: float, underrun_count: int, gaps_ms: Sequence[float]) -> None:
        """A reply that became audible is over. gaps_ms: the underruns whose length is known."""
        self._heard.observe(heard_ratio)
        self._underruns.inc(underrun_count)
        for gap_ms in gaps_ms:
            self._gaps.observe(gap_ms / 1000)

    def watch_links(self, service: str, links: LinkChannel) -> None:
        """Show the links to asr, llm or tts from now on, as they are whenever somebody looks."""
        self._links.labels(service).set_function(lambda: links.link_count)
        self._link_streams.labels(service).set_function(lambda: links.stream_count)

    def upstream(self, service: str, is_up: bool) -> None:
        """What a health check of asr, llm or tts found."""
        self._upstream.labels(service).set(is_up)
