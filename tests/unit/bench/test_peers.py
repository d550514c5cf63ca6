"""The contest with other libraries, without any of them: plans, what a session notes, what processes tell, figures."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.figures import Figure
from bench.peers import contest, results
from bench.peers.contender import Round
from bench.peers.install import PEERS, PeersMissingError, check_installed
from bench.peers.record import SessionRecord, Step, is_overloaded, nearest_rank
from bench.peers.workload import (
    FRAME_MS,
    LAST_OF_SPEECH,
    LEAD_MS,
    SAMPLE_RATE_HZ,
    SILENCE,
    SPEECH,
    plan_from_json,
)

ROOT = Path(__file__).parents[3]
FRAME_SAMPLES = SAMPLE_RATE_HZ * FRAME_MS // 1000


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(session_count: int, *, cpu_us: float = 100.0, late_ms: float = 5.0, lost: int = 0) -> Step:
    return Step(session_count, late_ms, 1.0, 6.0, 9.0, cpu_us, 3 * cpu_us, cpu_us * 50e-6, 20, lost)


def one_round(*steps: Step, overheads_ms: tuple[float, ...] = (6.0, 8.0, 7.0)) -> Round:
    return Round(list(overheads_ms), 0, list(steps), {"a-library": "1.2.3"})


def test_a_plan_reaches_another_process_unchanged() -> None:
    plan = contest.peer_plan(seed=7, is_short=False, core=1)
    assert plan_from_json(plan.to_json()) == plan


def test_the_same_seed_makes_the_same_plan_and_another_one_other_delays() -> None:
    plan = contest.peer_plan(1, True, None)
    assert contest.peer_plan(1, True, None) == plan
    assert contest.peer_plan(2, True, None).workload.turns != plan.workload.turns


def test_libraries_meet_the_delays_and_the_words_of_our_own_engines() -> None:
    ours = contest.our_scripts(contest.our_load(3, 1, contest.SCRIPTED_TURN_COUNT).turns)
    theirs = contest.peer_plan(3, False, None).workload.turns
    assert len(theirs) == contest.SCRIPTED_TURN_COUNT
    for turn, heard, answer, phrase in zip(
        theirs, ours["asr"]["utterances"], ours["llm"]["answers"], ours["tts"]["phrases"], strict=True
    ):
        assert (turn.heard, turn.transcript_ms) == (heard["text"], heard["finish_ms"])
        assert (list(turn.words), turn.model_ms) == (answer["deltas"], answer["first_delta_ms"])
        assert answer["delta_ms"] == 0
        assert turn.voice_ms == phrase["first_audio_delay_ms"]


def test_people_of_a_load_speak_the_same_turns_as_one_alone() -> None:
    alone, crowd = contest.our_load(3, 1, 4), contest.our_load(3, 20, 4)
    assert alone.turns == crowd.turns
    assert len(crowd.sessions) == 20


def test_speech_ends_in_one_labelled_frame_in_each_cycle() -> None:
    workload = contest.peer_plan(1, True, None).workload
    frames = [workload.frame(index) for index in range(2 * workload.cycle_ms // FRAME_MS)]
    speech_frames = workload.speech_ms // FRAME_MS
    first = workload.lead_in_ms // FRAME_MS
    assert frames[:first] == [SILENCE] * first
    assert frames[first : first + speech_frames] == [SPEECH] * (speech_frames - 1) + [LAST_OF_SPEECH]
    assert frames.count(LAST_OF_SPEECH) == 2
    assert frames.count(SPEECH) == 2 * (speech_frames - 1)
    assert len({SILENCE, SPEECH, LAST_OF_SPEECH}) == 3
    assert {len(frame) for frame in frames} == {2 * FRAME_SAMPLES}


def test_a_reply_leaves_the_engines_time_before_the_next_turn() -> None:
    workload = contest.peer_plan(1, True, None).workload
    slowest_ms = max(turn.engines_ms for turn in workload.turns)
    assert workload.speech_ms + slowest_ms + workload.reply_ms < workload.cycle_ms


def session(clock: Clock) -> SessionRecord:
    return SessionRecord(contest.peer_plan(1, True, None).workload, start_at=100.0, clock=clock)


def test_overhead_is_what_the_engines_do_not_explain() -> None:
    clock = Clock()
    record = session(clock)
    for index in range(3):
        clock.now = 100.0 + index * 0.020
        record.audio_arrived(FRAME_SAMPLES)
    turn = record.turn_ended()
    clock.now = 100.040 + (turn.engines_ms + 7) / 1000
    record.reply_audio(100)
    assert record.overheads_ms == [pytest.approx(7)]
    assert record.lost_turn_count == 0


def test_overhead_counts_from_when_the_person_sent_the_last_frame_not_from_when_it_was_heard() -> None:
    clock = Clock()
    record = session(clock)
    clock.now = 100.015
    record.audio_arrived(FRAME_SAMPLES)
    turn = record.turn_ended()
    clock.now += turn.engines_ms / 1000
    record.reply_audio(100)
    assert record.overheads_ms == [pytest.approx(15)]
    assert record.sent_late_ms == [pytest.approx(15)]


def test_each_turn_is_judged_by_its_own_script() -> None:
    clock = Clock()
    record = session(clock)
    first, second = (record.workload.turn(number).engines_ms for number in range(2))
    assert first != second
    for engines_ms in (first, second):
        record.audio_arrived(FRAME_SAMPLES)
        record.turn_ended()
        clock.now = record.start_at + (record.turn_count - 1) * 0.020 + engines_ms / 1000
        record.reply_audio(100)
        clock.now = record.start_at
    assert record.overheads_ms == pytest.approx([0, 0], abs=1e-6)


def test_a_turn_without_a_reply_is_lost() -> None:
    record = session(Clock())
    for _ in range(3):
        record.audio_arrived(FRAME_SAMPLES)
        record.turn_ended()
    assert record.lost_turn_count == 2
    record.reply_audio(20)
    assert (record.lost_turn_count, len(record.overheads_ms)) == (2, 1)


def test_reply_audio_is_due_when_it_fits_the_lead_and_late_afterwards() -> None:
    clock = Clock()
    record = session(clock)
    record.audio_arrived(FRAME_SAMPLES)
    record.turn_ended()
    record.reply_audio(LEAD_MS + 100)
    clock.now += 0.130
    record.reply_audio(100)
    assert record.reply_late_ms == [pytest.approx(0), pytest.approx(30)]


def test_forgetting_keeps_the_place_in_the_conversation() -> None:
    record = session(Clock())
    record.audio_arrived(FRAME_SAMPLES)
    record.turn_ended()
    record.reply_audio(100)
    record.forget()
    assert not (record.overheads_ms or record.sent_late_ms or record.reply_late_ms or record.lost_turn_count)
    assert record.turn_count == 1


def test_a_step_is_in_time_below_twenty_milliseconds_and_with_every_reply() -> None:
    assert step(10, late_ms=19.9).is_in_time
    assert not step(10, late_ms=20.0).is_in_time
    assert not step(10, lost=1).is_in_time
    assert not step(10, late_ms=nearest_rank([], 0.99)).is_in_time


def test_one_late_step_is_not_yet_too_much_and_two_are() -> None:
    late = step(15, late_ms=70)
    assert not is_overloaded([])
    assert not is_overloaded([late])
    assert not is_overloaded([step(10), late])
    assert not is_overloaded([late, step(20)])
    assert is_overloaded([step(10), late, late])


def test_what_a_process_tells_becomes_a_round() -> None:
    lines = [
        {"kind": "ready", "versions": {"a-library": "1.2.3"}},
        {"kind": "turns", "overheads_ms": [6, 8.5], "lost_turn_count": 1},
        {"kind": "step", **asdict(step(10))},
        {"kind": "done"},
    ]
    seen = Round()
    assert [seen.take(json.loads(json.dumps(line))) for line in lines] == [False, False, False, True]
    assert seen == Round([6.0, 8.5], 1, [step(10)], {"a-library": "1.2.3"})


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"kind": "surprise"},
        {"kind": "step", "session_count": 1},
        {"kind": "turns", "overheads_ms": ["x"]},
    ],
)
def test_nonsense_from_a_process_is_refused(told: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Round().take(told)


def contest_rounds() -> dict[str, list[Round]]:
    """Ours: 50 µs at the gateway and 150 µs in all. The library: 130 µs, of which 30 µs are the harness's."""
    ours = one_round(step(10, cpu_us=50), step(20, cpu_us=40), overheads_ms=(10.0, 12.0, 11.0))
    theirs = one_round(step(10, cpu_us=130), step(15, cpu_us=125), step(20, cpu_us=120, late_ms=70))
    return {
        results.OURS: [ours] * 3,
        results.HARNESS: [one_round(step(10, cpu_us=30))] * 3,
        "pipecat": [theirs] * 3,
        results.HARNESS + results.TUNED: [one_round(step(10, cpu_us=10))] * 3,
        "pipecat" + results.TUNED: [one_round(step(10, cpu_us=60))] * 3,
    }


def value(figures: dict[str, Figure], name: str) -> float:
    return figures[name].value


def test_ratios_come_first_and_are_ours_by_theirs() -> None:
    figures = results.figures(contest_rounds())
    assert [name for name in figures][:4] == [
        "pipecat_turn_overhead_ratio",
        "pipecat_cpu_per_frame_ratio",
        "pipecat_cpu_per_frame_all_ratio",
        "pipecat_sessions_per_core_ratio",
    ]
    assert value(figures, "pipecat_turn_overhead_ratio") == pytest.approx(11 / 7)
    assert value(figures, "pipecat_cpu_per_frame_ratio") == pytest.approx(50 / (130 - 30))
    assert value(figures, "pipecat_cpu_per_frame_all_ratio") == pytest.approx(150 / (130 - 30))
    assert value(figures, "pipecat_sessions_per_core_ratio") == pytest.approx(125 / 40)


def test_each_contender_has_its_own_figures() -> None:
    figures = results.figures(contest_rounds())
    assert value(figures, "pipecat_turn_overhead_p50_ms") == 7
    assert value(figures, "pipecat_turn_overhead_p95_ms") == 8
    assert value(figures, "pipecat_cpu_per_frame_us") == 130
    assert value(figures, "pipecat_sessions_in_time") == 15
    assert value(figures, "pipecat_sessions_per_core") == pytest.approx(1 / (125 * 50e-6))
    assert value(figures, "parley_gateway_cpu_per_frame_us") == 50
    assert value(figures, "parley_cpu_per_frame_us") == 150
    assert value(figures, "harness_cpu_per_frame_us") == 30
    assert "harness_sessions_in_time" not in figures


def test_what_the_harness_costs_is_taken_off_as_measured_with_the_same_settings() -> None:
    figures = results.figures(contest_rounds())
    assert value(figures, "pipecat_tuned_cpu_per_frame_ratio") == pytest.approx(50 / (60 - 10))


def test_every_figure_says_what_is_unlike_between_the_contenders() -> None:
    for name, figure in results.figures(contest_rounds()).items():
        if name.startswith("parley"):
            assert "gRPC hops" in figure.how, name
        else:
            assert "no network hop" in figure.how, name
            assert name.endswith("_ratio") == ("gRPC hops" in figure.how), name


def test_a_figure_that_a_round_lacks_is_left_out() -> None:
    rounds = contest_rounds()
    rounds["pipecat"] = [*rounds["pipecat"][:2], one_round(step(10, late_ms=math.inf, lost=3))]
    figures = results.figures(rounds)
    assert "pipecat_sessions_per_core" not in figures
    assert "pipecat_sessions_per_core_ratio" not in figures
    assert figures["pipecat_sessions_in_time"].spread == (0, 15)
    assert figures["pipecat_cpu_per_frame_us"].n == 3


def test_a_library_no_dearer_than_the_harness_has_no_ratio() -> None:
    rounds = contest_rounds()
    rounds[results.HARNESS] = [one_round(step(10, cpu_us=130))] * 3
    assert "pipecat_cpu_per_frame_ratio" not in results.figures(rounds)


def test_the_plot_shows_every_contender_and_leaves_out_what_is_endless() -> None:
    rounds = contest_rounds()
    rounds["pipecat"] = [one_round(step(10), step(15, late_ms=math.inf))] * 3
    plot = results.capacity_plot(rounds)
    assert plot.series == {
        "Parley": [(10, 5), (20, 5)],
        "Pipecat": [(10, 5)],
        "Pipecat (tuned)": [(10, 5)],
    }


def test_the_report_names_the_versions() -> None:
    assert "a-library 1.2.3" in results.versions_note(contest_rounds())


def test_requirements_pin_every_library() -> None:
    for peer in PEERS.values():
        lines = [line for line in peer.wanted.splitlines() if line and not line.startswith("#")]
        assert any(line.startswith(("pipecat-ai==", "livekit-agents==")) for line in lines)
        assert all("==" in line for line in lines)


def test_a_missing_library_is_named_with_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PeersMissingError, match=r"livekit-agents, pipecat; run `make bench-peers`"):
        check_installed(["pipecat", "livekit-agents"])
    check_installed([])


def test_a_library_installed_from_other_requirements_counts_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    peer = PEERS["pipecat"]
    peer.python.parent.mkdir(parents=True)
    peer.python.touch()
    stamp = peer.python.parents[1] / "installed.txt"
    stamp.write_text(peer.wanted)
    assert peer.is_installed
    stamp.write_text("pipecat-ai==0.0.1\n")
    assert not peer.is_installed


def test_the_command_line_says_what_to_run_and_ends_with_2(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "peers", "--vs", "pipecat"],
        cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'protos' / 'gen'}"}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "make bench-peers" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_installer_refuses_a_library_that_nobody_knows() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench.peers.install", "vocode"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "there are pipecat, livekit-agents" in ended.stderr


def test_a_step_without_turns_has_endless_overhead_rather_than_none() -> None:
    assert nearest_rank([], 0.5) == math.inf
    assert nearest_rank([3, 1, 2], 0.5) == 2
    assert replace(step(1), turn_count=0).turn_count == 0
