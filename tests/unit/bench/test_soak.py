"""Leaks show, a single jump does not."""

from bench.scenarios.soak import Sample, findings, plan_shape, slope_kib_a_minute
from bench.stack import PROCESSES

_KIB = 1024


def samples(
    memory_kib: list[float], descriptors: list[int] | None = None, cpu_s: float = 0.01
) -> list[Sample]:
    return [
        Sample(
            float(second), cpu_s * second, round(kib * _KIB), (descriptors or [9] * 1000)[second], 0.0, 0.0
        )
        for second, kib in enumerate(memory_kib)
    ]


def test_steady_growth_is_the_slope_and_a_jump_is_none() -> None:
    assert round(slope_kib_a_minute(samples([1000 + 2 * second for second in range(300)]))) == 120
    assert slope_kib_a_minute(samples([1000.0] * 200 + [9000.0] + [1000.0] * 99)) == 0


def test_what_grows_in_any_process_is_told_and_the_warm_up_is_not() -> None:
    steady = samples([1000.0] * 100)
    leaking = samples(
        [5000.0 - 40 * second for second in range(30)] + [1000.0 + second for second in range(70)],
        [9] * 30 + [10 + second // 7 for second in range(70)],
    )
    processes = dict.fromkeys(PROCESSES, steady) | {"tts": leaking}
    figures = findings(processes, 10, 50, 1).figures
    assert round(figures["soak_memory_slope_kib_per_minute"].value) == 60
    assert "tts 60" in figures["soak_memory_slope_kib_per_minute"].how
    assert figures["soak_descriptor_growth"].value >= 7
    assert round(figures["soak_cpu_ratio"].value, 6) == 1
    assert figures["soak_failed_turns"].value == 1
    assert "soak_lag_ratio" not in figures  # not measured, so not told


def test_a_longer_soak_has_more_turns() -> None:
    assert plan_shape(600).turn_count > plan_shape(24).turn_count >= 2
