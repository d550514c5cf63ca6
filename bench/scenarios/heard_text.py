"""What the conversation remembers of a reply that was cut off, against what the synthesiser had really said by then."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.cuts import Cut, CutReply, cut_replies
from bench.figures import Figure, count_figure, median_figure, quantile
from bench.first_audio import REPLIES
from bench.plan import PlanShape, engine_scripts, make_plan
from bench.scenario import Bench, Findings, Plot
from bench.stack import running_stack
from parley.gateway.v1 import history_service_pb2 as history_pb2
from parley_client import Parley
from parley_servicekit.logs import configure_logs
from parley_tts.engines.espeak import EspeakEngine
from parley_tts.ports import SpeechOptions, SpokenWord

TITLE = "What is remembered of a reply that was cut off"
ORDER = 42

_LONGEST_CUT_S = 6.0
_ASKED = "talk about number "


@dataclass(frozen=True)
class Spoken:
    """A phrase as the synthesiser itself says it: where each of its words ends in the text, and when in its audio."""

    text: str
    word_ends: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Judged:
    """A cut reply. error_chars: stored − played, negative where too little is remembered."""

    error_chars: int
    unheard_phrase_count: int
    reports: bool


async def run(bench: Bench) -> Findings:
    """See the module's docstring."""
    configure_logs("bench", "ERROR")  # the synthesiser called directly would log here
    people, cuts_each, longest_s = (8, 3, 2.5) if bench.is_short else (20, 25, _LONGEST_CUT_S)
    cuts = planned_cuts(bench.seed, people, cuts_each, longest_s)
    scripts = engine_scripts(make_plan(bench.seed, PlanShape()).turns)
    scripts["llm"] = chat_script()
    environment = {"PARLEY_TTS_ENGINE": "embedded", "PARLEY_TTS_SCRIPT_FILE": ""}
    async with running_stack(bench.folder, scripts, environment) as stack:
        bench.say(f"{people} people cut {cuts_each} replies each")
        async with asyncio.TaskGroup() as tasks:
            talking = [
                tasks.create_task(
                    cut_replies(stack.gateway, [f"{_ASKED}{index}" for index, _ in enumerate(each)], each),
                    name=f"person.{person}",
                )
                for person, each in enumerate(cuts)
            ]
        talked = [task.result() for task in talking]
        async with Parley(stack.gateway) as parley:
            stored = [stored_texts(await parley.get_conversation(name)) for name, _ in talked]
    replies = [reply for _, each in talked for reply in each]
    spoken = await _spoken_phrases(replies)
    judged = [
        judge(reply, texts.get(index, ""), spoken)
        for (_, each), texts in zip(talked, stored, strict=True)
        for index, reply in enumerate(each)
    ]
    return findings(judged)


def planned_cuts(seed: int, people: int, cuts_each: int, longest_s: float) -> list[list[Cut]]:
    """For each person the cuts one after the other; every second one is reported by the client."""
    chance = random.Random(f"{seed} cuts")
    return [
        [Cut(chance.uniform(50, longest_s * 1000), reports=index % 2 == 0) for index in range(cuts_each)]
        for _ in range(people)
    ]


def chat_script() -> dict[str, object]:
    """Answers of two replies' length, word by word, in turn."""
    texts = [f"{first} {second}" for first, second in zip(REPLIES, REPLIES[1:] + REPLIES[:1], strict=True)]
    return {
        "context_token_count": 1_000_000,
        "answers": [
            {"deltas": [f"{word} " for word in text.split()], "first_delta_ms": 30, "delta_ms": 20}
            for text in texts
        ],
    }


def stored_texts(found: history_pb2.GetConversationResponse) -> dict[int, str]:
    """What is stored of the n-th reply: the assistant's turn after the n-th question; nothing heard is no turn."""
    texts: dict[int, str] = {}
    asked = -1
    for turn in found.turns:
        if turn.speaker == history_pb2.SPEAKER_USER:
            asked += 1
        else:
            texts[asked] = turn.text
    return texts


async def _spoken_phrases(replies: Sequence[CutReply]) -> dict[str, Spoken]:
    """Every phrase that was announced, spoken once more by an engine of our own."""
    engine = EspeakEngine(child_count=1)
    await engine.open()
    try:
        texts = {text for reply in replies for text in reply.phrases.values()}
        return {text: await _spoken(engine, text) for text in sorted(texts)}
    finally:
        await engine.close()


async def _spoken(engine: EspeakEngine, text: str) -> Spoken:
    stream = engine.open_stream(SpeechOptions())
    said = text.strip()
    starts: list[tuple[int, float]] = []
    sample_count = 0
    async for piece in stream.speak(said):
        if isinstance(piece, SpokenWord):
            starts.append((piece.text_offset, piece.sample_offset / stream.voice.sample_rate_hz * 1000))
        else:
            sample_count += len(piece)
    end_ms = sample_count / stream.voice.sample_rate_hz * 1000
    places = [*starts, (len(said), end_ms)]
    # A word is over where the next one begins.
    return Spoken(said, tuple((len(said[:offset].rstrip()), ended_ms) for offset, ended_ms in places[1:]))


def judge(reply: CutReply, stored: str, spoken: Mapping[str, Spoken]) -> Judged:
    """Compare what is stored with the words whose audio had been played to their end."""
    played: list[str] = []
    unheard_count, told_chars = 0, 0
    for start_ms, text in sorted(reply.phrases.items()):
        phrase = spoken[text]
        ended = [end for end, ended_ms in phrase.word_ends if start_ms + ended_ms <= reply.played_ms]
        if ended:
            played.append(phrase.text[: ended[-1]])
        # A phrase is remembered where the stored text goes beyond all phrases before it.
        if start_ms >= reply.played_ms and len(stored) > told_chars:
            unheard_count += 1
        told_chars += len(phrase.text) + 1
    return Judged(len(stored) - len(" ".join(played)), unheard_count, reply.cut.reports)


def findings(judged: Sequence[Judged]) -> Findings:
    """The figures."""
    errors = [abs(each.error_chars) for each in judged]
    reported = [abs(each.error_chars) for each in judged if each.reports]
    silent = [abs(each.error_chars) for each in judged if not each.reports]
    median = median_figure([float(error) for error in errors], "chars", "")
    how = (
        f"{len(judged)} replies by espeak-ng cut at random moments: |stored − played| in characters, played being the"
        " words whose audio was over by espeak-ng's own word events; median where the client reports what it has played"
        f" {quantile(reported, 0.5):.0f}, where it does not {quantile(silent, 0.5):.0f}; worst {max(errors)}"
    )
    figures = {
        "heard_text_median_error_chars": Figure(
            median.value, "chars", len(errors), (float(min(errors)), float(quantile(errors, 0.95))), how
        ),
        "heard_text_unheard_phrases": count_figure(
            sum(each.unheard_phrase_count for each in judged),
            len(judged),
            "phrases of which no sample was played when the reply was cut, and which are remembered all the same",
        ),
    }
    plot = Plot(
        "How far off the memory of a cut reply is",
        "cdf",
        {
            "client reports": [float(each.error_chars) for each in judged if each.reports],
            "client does not": [float(each.error_chars) for each in judged if not each.reports],
        },
        x_label="characters remembered beyond what was played (negative: too few)",
    )
    return Findings(figures, (plot,))
