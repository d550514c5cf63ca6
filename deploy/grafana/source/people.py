"""The dashboard for the question: how do people experience it? Latency against its budget, and what became of turns.

Read from the top: is it fine now, if not since when, which stage is it, and do people get answers at all.
"""

from layout import Section, dashboard, label_variable, window_variable
from panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Json,
    Query,
    Scale,
    bars,
    cells,
    color,
    heatmap,
    limits,
    lines,
    newly_counted,
    stat,
    table,
    unit,
    words,
)

# Seconds: what most replies shall take, and what 95 % of them must not exceed.
_USUAL_S, _BUDGET_S = 0.7, 1.2
_BUDGET = limits((_USUAL_S, YELLOW), (_BUDGET_S, RED))
_GATEWAY = '{instance=~"$instance"}'
_STAGES = {
    "endpointing": ("1 noticing the end of speech", GREY),
    "asr.final": ("2 final transcript", BLUE),
    "llm.first_token": ("3 first word of the answer", PURPLE),
    "tts.first_audio": ("4 first sound of the voice", ORANGE),
    "playback.first_audio": ("5 out to the client", GREEN),
}
_REASONS = {
    "ASR_UNAVAILABLE": "speech recognition is away",
    "LLM_UNAVAILABLE": "the language model is away",
    "TTS_UNAVAILABLE": "the voice is away",
    "ENGINE_UNAVAILABLE": "a model server is away",
    "UPSTREAM_UNREACHABLE": "a model server cannot be reached",
    "UPSTREAM_CUT": "the answer broke off",
    "FIRST_TOKEN_TIMEOUT": "the answer did not begin in time",
    "ANSWER_STALLED": "the answer stopped half-way",
    "REPLY_TIMEOUT": "nothing could be heard in time",
    "REPLY_STALLED": "the reply stopped half-way",
    "REPLY_EMPTY": "the model had nothing to say",
    "RECOGNITION_TIMEOUT": "no transcript came in time",
    "NO_SPEECH": "nothing was said",
    "AT_CAPACITY": "no room",
    "QUEUE_TIMEOUT": "waited too long for the model",
    "NOT_READY": "still starting",
    "SYNTHESIS_FAILED": "a phrase could not be spoken",
    "PHRASE_TOO_SLOW": "speaking a phrase took too long",
    "PROMPT_TOO_LONG": "too much was said for the model",
    "STORE_UNAVAILABLE": "the conversation could not be stored",
    "TAKEN_OVER": "went on in another session",
    "CONVERSATION_FULL": "the conversation is full",
    "CLIENT_STALLED": "the client stopped reading",
    "INVALID_AUDIO": "audio that cannot be understood",
    "INVALID_FIELD": "a request with a wrong field",
    "INTERNAL": "a mistake of ours",
}


def people() -> Json:
    """The whole dashboard."""
    return dashboard(
        "parley-people",
        "Parley: people",
        "How long people wait for replies and what becomes of what they say. A figure is there 5 s after a turn ends.",
        [_now(), _latency(), _answers(), _replies(), _promises()],
        [
            label_variable("instance", "Gateway", "label_values(parley_gateway_sessions, instance)"),
            window_variable("5m"),
        ],
        refresh="5s",
        time_from="now-1h",
    )


def _now() -> Section:
    return Section(
        "Now",
        [
            stat(
                "Latest turn",
                "Voice to voice of the turn that ended last (a mean where several ended within 10 s): from the last"
                " sample of speech to the first sample of the reply. Yellow above 0.7 s, red above 1.2 s.",
                Query(_latest_turn()),
                has_graph=False,
                scale=Scale("s", _BUDGET, decimals=2),
            ),
            stat(
                "Slowest 5 % wait at least",
                "95th percentile of voice to voice over the last 15 minutes. The promise: at most 1.2 s. Estimated from"
                " a histogram; reliable to about the width of a bucket.",
                Query(_quantile(0.95, "parley_gateway_voice_to_voice_seconds", "15m")),
                scale=Scale("s", _BUDGET, decimals=2),
            ),
            stat(
                "Answered in time, last hour",
                "Share of spoken replies that began within 1.2 s. The promise is 95 % over 30 days. All gateways.",
                Query("1 - parley:turns_slow:ratio_1h"),
                scale=Scale("percentunit", limits((0.95, GREEN), base=RED), decimals=1),
                no_value="no turns",
            ),
            stat(
                "Turns without failure, last hour",
                "Share of turns that did not end in an error. The promise is 99.5 % over 30 days. All gateways.",
                Query("1 - parley:turns_failed:ratio_1h"),
                scale=Scale("percentunit", limits((0.98, YELLOW), (0.995, GREEN), base=RED), decimals=2),
                no_value="no turns",
            ),
            stat(
                "Conversations now",
                "Sessions that are open, speaking or not.",
                Query(f"sum(parley_gateway_sessions{_GATEWAY})"),
                scale=Scale("short", limits(base=BLUE)),
                no_value="no gateway",
            ),
            stat(
                "Turned away, last hour",
                "Sessions that were refused because all slots were taken.",
                Query(f"round(sum(increase(parley_gateway_refused_sessions_total{_GATEWAY}[1h])))"),
                scale=Scale("short", limits((1, YELLOW), (3, RED))),
                no_value="no gateway",
            ),
        ],
    )


def _latency() -> Section:
    return Section(
        "How long people wait for a reply",
        [
            lines(
                "Voice to voice",
                "From the last sample of speech to the first sample of the reply. The points are single turns; those"
                " with a trace name it. Dashed: usual (0.7 s) and promised (1.2 s for 95 %).",
                [
                    Query(
                        _quantile(0.5, "parley_gateway_voice_to_voice_seconds", "$window"),
                        "half wait less (p50)",
                    ),
                    Query(
                        _quantile(0.95, "parley_gateway_voice_to_voice_seconds", "$window"),
                        "95 % wait less (p95)",
                        with_exemplars=True,
                    ),
                    Query(
                        _quantile(0.99, "parley_gateway_voice_to_voice_seconds", "$window"),
                        "99 % wait less (p99)",
                    ),
                ],
                scale=Scale("s", _BUDGET),
                overrides=[
                    color("half wait less (p50)", GREEN),
                    color("95 % wait less (p95)", ORANGE),
                    color("99 % wait less (p99)", RED),
                ],
            ),
            lines(
                "Where the time goes",
                "The waterfall: means of the five stages of a reply, in the order in which they happen. They follow one"
                " another without a gap, so the height of the stack is the mean of voice to voice.",
                [Query(_mean_stage(stage, "$window"), title) for stage, (title, _) in _STAGES.items()],
                scale=Scale("s", _BUDGET),
                is_stacked=True,
                overrides=_stage_colors(),
            ),
            heatmap(
                "All turns",
                "How many turns took how long: two bands mean two kinds of turns, which no percentile shows.",
                Query(
                    f"sum by (le) (increase(parley_gateway_voice_to_voice_seconds_bucket{_GATEWAY}[$__rate_interval]))",
                    "{{le}}",
                    with_exemplars=True,
                ),
                size=(8, 8),
            ),
            bars(
                "Stages in the time shown",
                "Mean of each stage over the whole time range above. The longest bar is where to look first.",
                [Query(_mean_stage(stage, "$__range"), title) for stage, (title, _) in _STAGES.items()],
                scale=Scale("s", limits((0.3, YELLOW), (0.6, RED))),
                size=(8, 8),
            ),
            lines(
                "Slow turns by stage",
                "95th percentile of each stage. These do not add up: the slow ones of one stage are not those of"
                " another.",
                [
                    Query(_stage_quantile(stage), title, with_exemplars=True)
                    for stage, (title, _) in _STAGES.items()
                ],
                scale=Scale("s"),
                overrides=_stage_colors(),
                size=(8, 8),
            ),
        ],
    )


def _answers() -> Section:
    return Section(
        "Do people get an answer?",
        [
            lines(
                "Turns by outcome",
                "Turns a minute. Answered: something of the reply was heard. Superseded: the person went on talking"
                " first. Cancelled: the person stopped it first. Failed: an error, the only bad one.",
                [Query(_a_minute("outcome", "parley_gateway_turns_total"), "{{outcome}}")],
                scale=Scale("suffix: a minute"),
                is_stacked=True,
                overrides=[
                    color("answered", GREEN),
                    color("superseded", BLUE),
                    color("cancelled", YELLOW),
                    color("failed", RED),
                ],
                size=(8, 8),
            ),
            table(
                "Errors in the time shown",
                "What people were told, most frequent first. The reasons are those of the API; an error is not always"
                " a failed turn.",
                Query(
                    f"sort_desc({newly_counted('reason', f'parley_gateway_errors_total{_GATEWAY}', '$__range')})"
                ),
                columns={"reason": "What went wrong", "Value": "How often"},
                overrides=[
                    cells(
                        "What went wrong",
                        words({reason: (f"{text} ({reason})", GREY) for reason, text in _REASONS.items()}),
                    )
                ],
                size=(8, 8),
            ),
            lines(
                "Errors over time",
                "How many errors there were within the time chosen above as Over, before each moment, by reason. A step"
                " up: what was changed then?",
                [
                    Query(
                        newly_counted("reason", f"parley_gateway_errors_total{_GATEWAY}", "$window"),
                        "{{reason}}",
                    )
                ],
                scale=Scale("short"),
                is_stacked=True,
                size=(8, 8),
            ),
        ],
    )


def _replies() -> Section:
    return Section(
        "What is a reply like?",
        [
            lines(
                "Replies by outcome",
                "Replies a minute: spoken to their end, cut short by the person, failed.",
                [Query(_a_minute("outcome", "parley_gateway_replies_total"), "{{outcome}}")],
                scale=Scale("suffix: a minute"),
                is_stacked=True,
                overrides=[color("completed", GREEN), color("interrupted", YELLOW), color("failed", RED)],
                size=(6, 8),
            ),
            lines(
                "Interruptions",
                "How often people cut a reply short, a minute, by what they did. Many: replies are too long, or noise"
                " is taken for speech.",
                [Query(_a_minute("cause", "parley_gateway_barge_ins_total"), "{{cause}}")],
                scale=Scale("suffix: a minute"),
                is_stacked=True,
                size=(6, 8),
            ),
            lines(
                "How much of a reply is heard",
                "Share of a reply's text, as far as it was written, that was heard: the mean, and what the tenth that"
                " was interrupted soonest reaches. Low: replies are too long.",
                [
                    Query(_mean("parley_gateway_heard_ratio"), "mean"),
                    Query(
                        _quantile(0.1, "parley_gateway_heard_ratio", "$window"), "the shortest tenth (p10)"
                    ),
                ],
                scale=Scale("percentunit", maximum=1),
                size=(6, 8),
            ),
            lines(
                "Gaps in replies",
                "Moments in which the audio had run out in the middle of a reply. Above 0.2 a reply it is audible to"
                " everybody.",
                [
                    Query(
                        f"sum(rate(parley_gateway_playback_underruns_total{_GATEWAY}[$window]))"
                        f" / sum(rate(parley_gateway_replies_total{_GATEWAY}[$window]))",
                        "gaps per reply",
                    ),
                    Query(
                        _quantile(0.95, "parley_gateway_playback_underrun_seconds", "$window"),
                        "length of a gap (p95)",
                    ),
                ],
                overrides=[unit("length of a gap (p95)", "s")],
                scale=Scale("short", limits((0.2, RED))),
                size=(6, 8),
            ),
        ],
    )


def _promises() -> Section:
    return Section(
        "Are the promises kept?",
        [
            lines(
                "How fast the budget burns",
                "1 = exactly as many bad turns as promised. From 14.4 for an hour, or 6 for six hours, somebody is"
                " called (if it is more than a few turns). All gateways.",
                [
                    Query("parley:turns_slow:ratio_1h / 0.05", "too slow, 1 h"),
                    Query("parley:turns_slow:ratio_6h / 0.05", "too slow, 6 h"),
                    Query("parley:turns_failed:ratio_1h / 0.005", "failed, 1 h"),
                    Query("parley:turns_failed:ratio_6h / 0.005", "failed, 6 h"),
                ],
                scale=Scale("suffix:×", limits((1, YELLOW), (14.4, RED))),
                size=(24, 8),
            ),
        ],
    )


def _latest_turn() -> str:
    """The mean over 10 s, last seen: a window of 10 s that holds a turn mostly holds one."""
    name = "parley_gateway_voice_to_voice_seconds"
    mean = f"sum(rate({name}_sum{_GATEWAY}[10s])) / sum(rate({name}_count{_GATEWAY}[10s]))"
    return f"last_over_time((({mean}) > 0)[15m:2s])"


def _quantile(share: float, name: str, window: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{_GATEWAY}[{window}])))"


def _mean(name: str) -> str:
    return f"sum(rate({name}_sum{_GATEWAY}[$window])) / sum(rate({name}_count{_GATEWAY}[$window]))"


def _mean_stage(stage: str, window: str) -> str:
    name, labels = "parley_gateway_stage_seconds", f'{{stage="{stage}",instance=~"$instance"}}'
    return f"sum(rate({name}_sum{labels}[{window}])) / sum(rate({name}_count{labels}[{window}]))"


def _stage_quantile(stage: str) -> str:
    labels = f'{{stage="{stage}",instance=~"$instance"}}'
    return (
        f"histogram_quantile(0.95, sum by (le) (rate(parley_gateway_stage_seconds_bucket{labels}[$window])))"
    )


def _stage_colors() -> list[Json]:
    return [color(title, value) for title, value in _STAGES.values()]


def _a_minute(label: str, name: str) -> str:
    return f"60 * sum by ({label}) (rate({name}{_GATEWAY}[$window]))"
