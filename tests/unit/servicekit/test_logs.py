"""Logs: a JSON object a line, ids bound to tasks, and nothing that people said."""

import asyncio
import io
import json
import logging
import warnings
from typing import Any

import pytest

from parley_servicekit.logs import bound_ids, configure_logs, get_logger

SECRET = "the private words"


@pytest.fixture
def stream() -> io.StringIO:
    target = io.StringIO()
    configure_logs("asr", stream=target)
    return target


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_tells_event_level_time_and_process(stream: io.StringIO) -> None:
    get_logger().info("turn.committed", turn_id="7")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["process"], line["turn_id"]) == (
        "turn.committed",
        "info",
        "asr",
        "7",
    )
    assert line["timestamp"].endswith("Z")


def test_private_keys_are_dropped_at_any_depth(stream: io.StringIO) -> None:
    nested = {"kept": 1, "pii.prompt": SECRET, "list": [{"pii.reply": SECRET, "also": 2}]}
    get_logger().info("turn.committed", **{"pii.text": SECRET, "nested": nested})
    assert SECRET not in stream.getvalue()
    assert lines(stream)[0]["nested"] == {"kept": 1, "list": [{"also": 2}]}


def test_objects_are_told_by_their_type_only(stream: io.StringIO) -> None:
    get_logger().info("turn.committed", thing=ValueError(SECRET), data=SECRET.encode())
    assert SECRET not in stream.getvalue()
    assert lines(stream)[0]["thing"] == "<ValueError>"


def test_exceptions_are_told_without_messages_and_variables(stream: io.StringIO) -> None:
    def fail(words: str) -> None:
        raise ValueError(words)

    try:
        try:
            fail(SECRET)
        except ValueError as error:
            raise ExceptionGroup(SECRET, [KeyError(SECRET)]) from error
    except ExceptionGroup as group:
        get_logger().error("engine.failed", exc_info=group)
        get_logger().exception("engine.failed")
    for line in lines(stream):
        told = line["exception"]
        assert told["type"] == "builtins.ExceptionGroup"
        assert told["cause"]["type"] == "builtins.ValueError"
        assert [member["type"] for member in told["members"]] == ["builtins.KeyError"]
        assert told["cause"]["frames"][-1].endswith(" fail")
    assert SECRET not in stream.getvalue()


def test_other_libraries_are_heard_from_warning_up_without_their_arguments(stream: io.StringIO) -> None:
    library = logging.getLogger("some.library")
    library.info("not heard")
    library.warning("request %s failed", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        library.exception("it broke")
    first, second = lines(stream)
    assert (first["event"], first["logger"], first["template"]) == (
        "library.message",
        "some.library",
        "request %s failed",
    )
    assert second["exception"]["type"] == "builtins.ValueError"
    assert SECRET not in stream.getvalue()


def test_warnings_go_to_the_log_too() -> None:
    target = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logs("asr", stream=target)
        warnings.warn(SECRET, stacklevel=1)
    assert lines(target)[0]["logger"] == "py.warnings"
    assert SECRET not in target.getvalue()


async def test_ids_are_bound_to_a_task_and_its_children_only(stream: io.StringIO) -> None:
    async def child() -> None:
        get_logger().info("child.spoke")

    with bound_ids(session_id="s1"):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(child(), name="child")
    get_logger().info("later.spoke")
    first, second = lines(stream)
    assert first["session_id"] == "s1"
    assert "session_id" not in second


def test_levels_below_the_set_one_are_silent() -> None:
    target = io.StringIO()
    configure_logs("asr", level="WARNING", stream=target)
    get_logger().info("not.heard")
    get_logger().warning("heard")
    assert [line["event"] for line in lines(target)] == ["heard"]


def test_console_text_is_plain_where_there_is_no_terminal() -> None:
    target = io.StringIO()
    configure_logs("asr", format="console", stream=target)
    get_logger().info("turn.committed", **{"turn_id": "7", "pii.text": SECRET})
    assert "turn.committed" in target.getvalue()
    assert "\x1b" not in target.getvalue()
    assert SECRET not in target.getvalue()
