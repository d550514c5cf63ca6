"""What the metrics learn of each reply. Called by `replies`, at the decision to cut it short and at its end."""

from parley_gateway.conversation import ReplyOutcome
from parley_gateway.metrics import GatewayMetrics, TurnOutcome
from parley_gateway.session.replying import Reply
from parley_gateway.turns.actions import CancelReason


def turn_outcome(
    outcome: ReplyOutcome, cancel_reason: CancelReason | None, *, was_perceived: bool
) -> TurnOutcome:
    """What became of a turn whose reply ended so. cancel_reason: None where the reply was not cancelled."""
    if outcome is ReplyOutcome.FAILED:
        return TurnOutcome.FAILED
    if was_perceived:
        return TurnOutcome.ANSWERED
    return TurnOutcome.SUPERSEDED if cancel_reason is CancelReason.SUPERSEDED else TurnOutcome.CANCELLED


def count_playback(metrics: GatewayMetrics, reply: Reply, heard_text: str) -> None:
    """How much of an audible reply was heard, and how well. Of any other there is nothing to tell."""
    if reply.playout.sent_ms > 0:
        playout = reply.playout
        metrics.reply_played(
            heard_share(heard_text, reply.written_text), playout.underrun_count, playout.gaps_ms
        )


def heard_share(heard_text: str, written_text: str) -> float:
    """The share of the letters written that was heard, from 0 to 1; white space does not count."""
    written_count = len("".join(written_text.split()))
    heard_count = len("".join(heard_text.split()))
    return min(1.0, heard_count / written_count) if written_count else 1.0
