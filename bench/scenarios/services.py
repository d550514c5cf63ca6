"""What each service adds to its engine: the llm service's cost and delay, the tts service's, and an hour of hearing."""

from pathlib import Path

from bench import chat_cost, first_audio
from bench.figures import Figure, median_figure, quantile_figure
from bench.hearing_cost import minute_costs
from bench.scenario import Bench, Findings, Plot
from bench.service import running_service
from parley_servicekit.logs import configure_logs
from parley_tts.engines.espeak import EspeakEngine
from parley_tts.engines.scripted import ScriptedEngine, SpeechScript
from tests.support.fake_model_server import Behaviour, FakeModelServer, fake_model_server

TITLE = "Each service against its engine called directly"
ORDER = 60

_STREAM_COUNT = 8
_HOUR_MINUTES = 60
_SLOW_ENGINE_MS = 250
"""First audio of a synthesiser of the kind that Parley is made for, on a GPU; espeak-ng takes a few milliseconds."""


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    configure_logs("bench", "ERROR")  # the engines called directly would log here
    parts = [await _chat(bench), await _speech(bench), await _hearing(bench)]
    return Findings(
        {name: figure for part in parts for name, figure in part.figures.items()},
        tuple(plot for part in parts for plot in part.plots),
        tuple(note for part in parts for note in part.notes),
    )


async def _chat(bench: Bench) -> Findings:
    """Our service and the `ollama` package on the same server, which is a fake with a known pace."""
    round_count, token_count, ask_count = (3, 50, 40) if bench.is_short else (7, 300, 400)
    async with fake_model_server("ollama") as fake:
        settings = {
            "ENGINE": "ollama",
            "MODEL": chat_cost.MODEL,
            "OLLAMA_URL": fake.url,
            "PARALLEL_COUNT": str(_STREAM_COUNT),
        }
        folder = _folder(bench, "llm")
        async with running_service("llm", folder, settings) as llm:
            try:
                rounds = await _cost_rounds(bench, fake, llm.address, llm.pid, (round_count, token_count))
                bench.say("llm service: first tokens, asked in turn through it, by HTTP and by the package")
                fake.behaviour = Behaviour(delta_ms=5)
                first = await chat_cost.first_tokens(llm.address, fake.url, ask_count)
            except ModuleNotFoundError as error:
                return Findings(
                    {}, notes=(f"not compared with the ollama package: {error.name} is not installed",)
                )
    return Findings(
        {
            "llm_cpu_per_token_vs_ollama_client": _cost_figure(rounds, token_count),
            "llm_first_token_added_p50_ms": _added_figure(first, ask_count),
        }
    )


async def _cost_rounds(
    bench: Bench, fake: FakeModelServer, address: str, pid: int, counts: tuple[int, int]
) -> list[chat_cost.CostRound]:
    rounds = []
    fake.behaviour = Behaviour(delta_ms=1000 / chat_cost.TOKENS_A_SECOND)
    await chat_cost.cost_round(address, pid, fake.url, _STREAM_COUNT, 4)  # warms up
    for index in range(counts[0]):
        rounds.append(await chat_cost.cost_round(address, pid, fake.url, _STREAM_COUNT, counts[1]))
        ours_us, package_us = rounds[-1].ours_s * 1e6, rounds[-1].package_s * 1e6
        bench.say(
            f"llm service, round {index + 1}: {ours_us:.0f} µs a token, ollama package {package_us:.0f} µs"
        )
    return rounds


def _cost_figure(rounds: list[chat_cost.CostRound], token_count: int) -> Figure:
    ours_us = median_figure([each.ours_s * 1e6 for each in rounds], "µs", "").value
    package_us = median_figure([each.package_s * 1e6 for each in rounds], "µs", "").value
    return median_figure(
        [each.ours_s / each.package_s for each in rounds],
        "ratio",
        f"{_STREAM_COUNT} answers at once of {token_count} tokens each, {chat_cost.TOKENS_A_SECOND} a second, from a"
        f" fake Ollama server: CPU of our process, gRPC included ({ours_us:.0f} µs a token), ÷ of a process with the"
        f" ollama package on the same server ({package_us:.0f} µs), alternating rounds",
    )


def _added_figure(first: chat_cost.FirstTokens, ask_count: int) -> Figure:
    added = [ours - plain for ours, plain in zip(first.ours_ms, first.plain_ms, strict=True)]
    package_ms = median_figure(first.package_ms, "ms", "").value
    plain_ms = median_figure(first.plain_ms, "ms", "").value
    return quantile_figure(
        added,
        0.5,
        "ms",
        f"first text through our service − by plain HTTP (aiohttp) from the same fake server, asked {ask_count} times"
        f" in turn; medians: plain HTTP {plain_ms:.2f} ms, ollama package {package_ms:.2f} ms, in which the server"
        " waits 5 ms",
    )


async def _speech(bench: Bench) -> Findings:
    count = 8 if bench.is_short else 100
    bench.say("tts service: a slow engine through it and called directly, in turn")
    script = _folder(bench, "tts") / "script.json"
    slow = SpeechScript(first_audio_delay_ms=_SLOW_ENGINE_MS, is_fast=False)
    script.write_text(slow.model_dump_json())
    async with running_service(
        "tts", script.parent, {"ENGINE": "scripted", "SCRIPT_FILE": str(script)}
    ) as tts:
        slow_delays = await first_audio.against_engine(
            tts.address, ScriptedEngine(slow), first_audio.REPLIES, count
        )
    texts = first_audio.REPLIES[: 6 if bench.is_short else None] * (1 if bench.is_short else 5)
    engine = EspeakEngine(child_count=1)
    async with running_service("tts", script.parent, {"ENGINE": "embedded"}) as tts:
        await engine.open()
        try:
            fast_delays = await first_audio.against_engine(
                tts.address, engine, first_audio.REPLIES, 5 * count
            )
        finally:
            await engine.close()
        bench.say(f"tts service: {len(texts)} replies word by word, and by whole sentences")
        sentence_delays = await first_audio.against_sentences(tts.address, texts)
    return _speech_findings(slow_delays, fast_delays, sentence_delays)


def _speech_findings(
    slow: first_audio.Delays, fast: first_audio.Delays, sentence: first_audio.Delays
) -> Findings:
    espeak = [ours - direct for ours, direct in zip(fast.ours_ms, fast.other_ms, strict=True)]
    direct_ms = median_figure(fast.other_ms, "ms", "").value
    figures = {
        "tts_first_audio_vs_direct": median_figure(
            _ratios(slow),
            "ratio",
            f"scripted engine whose first audio takes {_SLOW_ENGINE_MS} ms, in our process ÷ called in the bench's with"
            " the same first phrase; all deltas at once",
        ),
        "tts_first_audio_added_p50_ms": quantile_figure(
            espeak,
            0.5,
            "ms",
            f"the same difference with espeak-ng, which by itself takes {direct_ms:.1f} ms for a first phrase",
        ),
        "tts_first_audio_vs_sentence": _sentence_figure(sentence),
    }
    plot = Plot(
        "First audio of a reply that is still being written",
        "cdf",
        {"by phrases": sentence.ours_ms, "by whole sentences": sentence.other_ms},
        x_label="milliseconds from the first word written",
    )
    return Findings(figures, (plot,))


def _sentence_figure(sentence: first_audio.Delays) -> Figure:
    ours_ms = median_figure(sentence.ours_ms, "ms", "").value
    other_ms = median_figure(sentence.other_ms, "ms", "").value
    ratios = _ratios(sentence)
    how = (
        f"{len(ratios)} replies written a word every {first_audio.WORD_MS:.0f} ms, espeak-ng: median from first delta"
        f" to first audio ({ours_ms:.0f} ms) ÷ that of the same service given only whole sentences ({other_ms:.0f} ms);"
        " a reply whose first sentence is short gains nothing (spread: single replies)"
    )
    return Figure(ours_ms / other_ms, "ratio", len(ratios), (min(ratios), max(ratios)), how)


def _ratios(delays: first_audio.Delays) -> list[float]:
    return [ours / other for ours, other in zip(delays.ours_ms, delays.other_ms, strict=True)]


async def _hearing(bench: Bench) -> Findings:
    minute_count, edge_count = (3, 1) if bench.is_short else (_HOUR_MINUTES, 5)
    bench.say(f"asr service: {minute_count} minutes of one stream, as fast as it takes them")
    async with running_service("asr", _folder(bench, "asr"), {"ENGINE": "embedded"}) as asr:
        costs = await minute_costs(asr, minute_count, bench.say)
    first, last = (median_figure(part, "s", "") for part in (costs[:edge_count], costs[-edge_count:]))
    figure = Figure(
        last.value / first.value,
        "ratio",
        minute_count,
        (last.spread[0] / first.spread[1], last.spread[1] / first.spread[0]),
        "embedded recogniser, one stream with the same minute of speech again and again, as fast as it is taken:"
        f" CPU per second of audio, median of the last {edge_count} of {minute_count} minutes"
        f" ({last.value * 1000:.1f} ms) ÷ of the first {edge_count} ({first.value * 1000:.1f} ms)",
    )
    # A figure of the goals only where it is what they say: an hour.
    name = "asr_cost_growth" if minute_count == _HOUR_MINUTES else f"asr_cost_growth_{minute_count}_minutes"
    plot = Plot(
        "What a minute of hearing costs",
        "line",
        {"asr process": [(float(minute + 1), cost * 1000) for minute, cost in enumerate(costs)]},
        x_label="minute of the stream",
        y_label="ms of CPU per second of audio",
    )
    return Findings({name: figure}, (plot,))


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
