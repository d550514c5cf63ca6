"""The lower half of the operators' dashboard: engines, their requests, and the processes. Used by `operators`."""

from layout import Section
from panels import GREEN, GREY, ORANGE, RED, YELLOW, Query, Scale, color, limits, lines, newly_counted, table

PROCESSES = ("gateway", "asr", "llm", "tts")
SELECTED = '{job=~"$job",instance=~"$instance"}'
# At real-time factor 1 nothing is left.
_FACTOR_LIMITS = limits((0.5, YELLOW), (1, RED))


def engines() -> Section:
    """How quickly asr, llm and tts work."""
    return Section(
        "Are the engines quick enough?",
        [
            lines(
                "Real-time factor (p95)",
                "Time spent on audio over its length. Above 1, asr falls behind people who talk, and replies of tts"
                " have gaps.",
                [Query("parley:real_time_factor_ratio:p95_5m", "{{service}}")],
                scale=Scale("short", _FACTOR_LIMITS),
                size=(8, 8),
            ),
            lines(
                "Speed of one answer",
                "Tokens a second of an answer after its first token. People listen to about 4 a second; below that,"
                " replies have gaps.",
                [
                    Query(quantile(0.5, "parley_llm_tokens_per_second"), "half are quicker (p50)"),
                    Query(quantile(0.1, "parley_llm_tokens_per_second"), "the slowest tenth (p10)"),
                ],
                scale=Scale("suffix: tokens/s", limits((4, YELLOW), (8, GREEN), base=RED)),
                size=(8, 8),
            ),
            lines(
                "Tokens of all answers",
                "What all llm instances read and write together.",
                [Query("sum by (kind) (rate(parley_llm_tokens_total[$window]))", "{{kind}}")],
                scale=Scale("suffix: tokens/s"),
                size=(8, 8),
            ),
            lines(
                "asr: transcripts (p95)",
                "From the start of speech to the first partial transcript, and from its end to the final one.",
                [
                    Query(quantile(0.95, "parley_asr_first_partial_seconds"), "first partial"),
                    Query(quantile(0.95, "parley_asr_final_seconds"), "final"),
                ],
                scale=Scale("s"),
                size=(6, 8),
            ),
            lines(
                "asr: streams decoded together",
                "Mean number of streams in one run of the model. 1 under load means that batching does not work.",
                [
                    Query(
                        "sum(rate(parley_asr_decode_batch_streams_sum[$window]))"
                        " / sum(rate(parley_asr_decode_batch_streams_count[$window]))",
                        "streams",
                    )
                ],
                scale=Scale("short"),
                size=(6, 8),
            ),
            lines(
                "llm: first token (p95)",
                "From the arrival of a request to the first piece of its answer, waiting for a slot included.",
                [
                    Query(quantile(0.95, "parley_llm_first_token_seconds"), "p95"),
                    Query(quantile(0.5, "parley_llm_first_token_seconds"), "p50"),
                ],
                scale=Scale("s"),
                size=(6, 8),
            ),
            lines(
                "tts: first audio (p95)",
                "From the first text of a reply to its first sound.",
                [
                    Query(quantile(0.95, "parley_tts_first_audio_seconds"), "p95"),
                    Query(quantile(0.5, "parley_tts_first_audio_seconds"), "p50"),
                ],
                scale=Scale("s"),
                size=(6, 8),
            ),
        ],
    )


def requests() -> Section:
    """How requests to the services ended."""
    return Section(
        "What became of requests?",
        [
            *(
                lines(
                    f"{service}: requests by outcome",
                    f"Requests a second to the {service} service by how they ended. Cancelled is normal: people"
                    " interrupt.",
                    [
                        Query(
                            f"sum by (outcome) (rate(parley_{service}_requests_total[$window]))",
                            "{{outcome}}",
                        )
                    ],
                    scale=Scale("reqps"),
                    is_stacked=True,
                    overrides=[color("failed", RED), color("refused", ORANGE), color("cancelled", GREY)],
                    size=(6, 8),
                )
                for service in ("asr", "llm", "tts")
            ),
            lines(
                "Errors by process",
                "Errors told to callers within the time chosen above as Over, before each moment.",
                [
                    Query(
                        newly_counted("reason", f"parley_{name}_errors_total", "$window"),
                        f"{name} {{{{reason}}}}",
                    )
                    for name in PROCESSES
                ],
                scale=Scale("short"),
                size=(6, 8),
            ),
            lines(
                "Engine losses",
                "How often an engine stopped being available, an hour.",
                [
                    Query("sum(increase(parley_llm_engine_losses_total[1h]))", "llm"),
                    Query("sum(increase(parley_tts_engine_losses_total[1h]))", "tts"),
                ],
                scale=Scale("short"),
                size=(8, 7),
            ),
            lines(
                "Phrases not spoken",
                "Phrases that tts could not speak to their end within the time chosen above as Over, by reason.",
                [Query(newly_counted("reason", "parley_tts_failed_phrases_total", "$window"), "{{reason}}")],
                scale=Scale("short"),
                size=(8, 7),
            ),
            lines(
                "Utterances by outcome",
                "Utterances a minute that asr ended: with text, empty (noise), failed.",
                [Query("60 * sum by (outcome) (rate(parley_asr_utterances_total[$window]))", "{{outcome}}")],
                scale=Scale("suffix: a minute"),
                is_stacked=True,
                overrides=[color("failed", RED)],
                size=(8, 7),
            ),
        ],
    )


def processes() -> Section:
    """Event loop, CPU, memory, files, versions."""
    return Section(
        "Processes",
        [
            lines(
                "Event loop lag (p99)",
                "How late each process reacts. Above 50 ms all its sessions stutter at once.",
                [
                    Query(
                        'parley:event_loop_lag_seconds:p99_5m{job=~"$job",instance=~"$instance"}',
                        "{{job}} {{instance}}",
                    )
                ],
                scale=Scale("s", limits((0.02, YELLOW), (0.05, RED))),
            ),
            lines(
                "CPU",
                "Cores that each process uses. Engines that run in a child process (llama.cpp, espeak-ng) are not"
                " counted in.",
                [Query(f"rate(process_cpu_seconds_total{SELECTED}[$window])", "{{job}} {{instance}}")],
                scale=Scale("suffix: cores"),
            ),
            lines(
                "Memory",
                "Resident memory of each process without engines in child processes. A line that only rises is a leak.",
                [Query(f"process_resident_memory_bytes{SELECTED}", "{{job}} {{instance}}")],
                scale=Scale("bytes"),
                size=(8, 8),
            ),
            lines(
                "Open files",
                "Used share of the file descriptors (connections are some). At 100 % nobody can connect.",
                [Query(f"process_open_fds{SELECTED} / process_max_fds{SELECTED}", "{{job}} {{instance}}")],
                scale=Scale("percentunit", limits((0.5, YELLOW), (0.8, RED))),
                size=(8, 8),
            ),
            lines(
                "Garbage collection",
                "Collections of the oldest generation a minute: each stops the process for a moment.",
                [
                    Query(
                        '60 * rate(python_gc_collections_total{generation="2",job=~"$job",instance=~"$instance"}'
                        "[$window])",
                        "{{job}} {{instance}}",
                    )
                ],
                scale=Scale("suffix: a minute"),
                size=(8, 8),
            ),
            table(
                "Versions",
                "What runs where. More than one version of a process: an update is under way, or got stuck.",
                Query(
                    " or ".join(
                        f"max by (job, instance, version) (parley_{name}_build_info)" for name in PROCESSES
                    )
                ),
                columns={"job": "Process", "instance": "Instance", "version": "Version"},
            ),
            lines(
                "Being watched",
                "How long a scrape of each process takes. A slow one is a busy process; at 2 s the scrape fails.",
                [Query(f"scrape_duration_seconds{SELECTED}", "{{job}} {{instance}}")],
                scale=Scale("s", limits((0.5, YELLOW), (2, RED))),
            ),
        ],
    )


def quantile(share: float, name: str) -> str:
    """That share of all observations of a histogram is smaller, over the chosen window."""
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket[$window])))"
