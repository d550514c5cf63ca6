"""The event log of a conversation folded into what was said, and its form at rest."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_gateway.adapters.conversation_rows import from_json, to_json
from parley_gateway.conversation import (
    Conversation,
    Event,
    Message,
    PhraseSpoken,
    PlaybackMarked,
    Renamed,
    ReplyEnded,
    ReplyOutcome,
    ReplyStarted,
    Role,
    SessionOpened,
    TurnCommitted,
    TurnSource,
    messages,
    next_reply_id,
    turn_count,
    turns,
)
from parley_servicekit.faults import Fault

NOW = datetime(2031, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def said(turn_id: str, text: str, revision: int = 1) -> TurnCommitted:
    return TurnCommitted(turn_id, revision, text, TurnSource.TYPED, NOW, 1000)


def begun(reply_id: int, turn_id: str = "t1") -> ReplyStarted:
    return ReplyStarted(reply_id, turn_id, NOW, 2000)


def ended(reply_id: int, text: str, outcome: ReplyOutcome = ReplyOutcome.COMPLETED) -> ReplyEnded:
    return ReplyEnded(reply_id, outcome, text, 900)


def texts(events: list[Event]) -> list[tuple[Role, str]]:
    return [(message.role, message.text) for message in messages(events)]


def test_the_history_is_what_was_said_and_what_was_heard() -> None:
    log: list[Event] = [
        said("t1", "Hi"),
        begun(1),
        ended(1, "Hello."),
        said("t2", "Bye"),
        begun(2),
        ended(2, "See"),
    ]
    assert messages(log) == [
        Message(Role.USER, "Hi"),
        Message(Role.ASSISTANT, "Hello."),
        Message(Role.USER, "Bye"),
        Message(Role.ASSISTANT, "See"),
    ]
    assert (turn_count(log), next_reply_id(log), next_reply_id([])) == (2, 3, 1)


def test_only_the_latest_revision_of_a_turn_counts() -> None:
    log: list[Event] = [
        said("t1", "Hi"),
        begun(1),
        ended(1, "", ReplyOutcome.INTERRUPTED),
        said("t1", "Hi you there", 2),
    ]
    assert texts([*log, begun(2), ended(2, "Yes?")]) == [
        (Role.USER, "Hi you there"),
        (Role.ASSISTANT, "Yes?"),
    ]
    assert turn_count(log) == 1


def test_a_reply_of_which_nothing_was_heard_is_left_out() -> None:
    assert texts([said("t1", "Hi"), begun(1), ended(1, " ", ReplyOutcome.FAILED)]) == [(Role.USER, "Hi")]


@pytest.mark.parametrize(
    ("played_ms", "heard"),
    [
        (None, ""),
        (0, ""),
        (999, "One two"),
        (1000, "One two three."),
        (1600, "One two three. Four"),
        (9999, "One two three. Four five."),
    ],
)
def test_a_reply_that_was_never_ended_counts_as_far_as_it_was_played(
    played_ms: int | None, heard: str
) -> None:
    log: list[Event] = [
        said("t1", "Count"),
        begun(1),
        PhraseSpoken(1, 0, "One two three.", 0, None),
        PhraseSpoken(1, 0, "One two three.", 0, 1000, ((0, 0), (4, 300), (8, 600))),
        PhraseSpoken(1, 1, "Four five.", 1000, 1000, ((0, 1000), (5, 1500))),
    ]
    if played_ms is not None:
        log += [PlaybackMarked(1, played_ms), PlaybackMarked(1, 0)]
    assistant = [turn for turn in turns(log) if turn.role is Role.ASSISTANT]
    assert [turn.text for turn in assistant] == ([heard] if heard else [])
    assert all(turn.was_interrupted for turn in assistant)


def test_a_log_that_contradicts_itself_is_read_as_far_as_it_makes_sense() -> None:
    log: list[Event] = [
        PhraseSpoken(7, 0, "of no reply", 0, 100),
        begun(1, ""),
        PhraseSpoken(1, 0, "Fine.", 500, 500),
        PhraseSpoken(1, 1, "Before the first.", 0, 100),
        PlaybackMarked(1, 5000),
    ]
    assert texts(log) == [(Role.ASSISTANT, "Fine.")]


def test_two_sessions_that_used_the_same_numbers_are_both_kept() -> None:
    log: list[Event] = [
        said("t1", "here"),
        begun(1),
        ended(1, "Heard here."),
        said("t1", "there"),
        begun(1),
        ended(1, "Heard there."),
    ]
    assert [text for _, text in texts(log)] == ["here", "Heard here.", "there", "Heard there."]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
COUNT = st.integers(0, 2**53 - 1)
NAME = st.from_regex(r"[A-Za-z0-9._:-]{1,100}", fullmatch=True)
TIME = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
EVENTS = st.one_of(
    st.builds(SessionOpened, NAME, TIME),
    st.builds(TurnCommitted, NAME, COUNT, TEXT, st.sampled_from(TurnSource), TIME, COUNT),
    st.builds(ReplyStarted, COUNT, NAME, TIME, COUNT),
    st.builds(
        PhraseSpoken,
        COUNT,
        COUNT,
        TEXT,
        COUNT,
        st.none() | COUNT,
        st.lists(st.tuples(COUNT, COUNT)).map(tuple),
    ),
    st.builds(PlaybackMarked, COUNT, COUNT),
    st.builds(ReplyEnded, COUNT, st.sampled_from(ReplyOutcome), TEXT, COUNT),
    st.builds(Renamed, TEXT, TIME),
)


@given(EVENTS)
def test_every_event_comes_back_from_its_row(event: Event) -> None:
    row = to_json(event)
    assert b"\n" not in row
    assert from_json(row) == event


@given(st.lists(EVENTS, max_size=30))
def test_any_log_can_be_read(log: list[Event]) -> None:
    assert len(turns(log)) <= len(log)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | TEXT, st.lists).map(repr).map(str.encode)
)
def test_any_bytes_are_an_event_or_a_fault(row: bytes) -> None:
    try:
        from_json(row)
    except Fault as fault:
        assert fault.reason == "STORE_CORRUPT"


@given(EVENTS, st.data())
def test_a_row_with_one_wrong_field_is_a_fault_or_still_an_event(event: Event, data: st.DataObject) -> None:
    import json

    raw = json.loads(to_json(event))
    name = data.draw(st.sampled_from(sorted(raw)))
    raw[name] = data.draw(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | TEXT
        | st.lists(st.integers())
        | st.just({"a": []})
    )
    try:
        from_json(json.dumps(raw).encode())
    except Fault as fault:
        assert fault.reason == "STORE_CORRUPT"


@pytest.mark.parametrize(
    "row",
    [
        b'{"kind":"whispered","version":2,"reply_id":1}',
        b'{"kind":"whispered","version":1}',
        b'{"kind":"turn_committed","version":2,"new_name_of_text":"x"}',
    ],
)
def test_what_a_newer_version_wrote_is_passed_over(row: bytes) -> None:
    assert from_json(row) is None


def test_fields_that_a_newer_version_added_are_passed_over() -> None:
    assert from_json(
        b'{"kind":"playback_marked","version":2,"reply_id":1,"played_ms":2,"volume":3}'
    ) == PlaybackMarked(1, 2)


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"kind":"turn_committed"}',
        b'{"kind":["turn_committed"],"version":1}',
        b'{"kind":"playback_marked","version":true,"reply_id":1,"played_ms":2}',
        b'{"kind":"playback_marked","version":1,"reply_id":1}',
        b'{"kind":"playback_marked","version":1,"reply_id":-1,"played_ms":2}',
        b'{"kind":"playback_marked","version":1,"reply_id":1.0,"played_ms":2}',
        b'{"kind":"playback_marked","version":1,"reply_id":1,"played_ms":' + b"9" * 5000 + b"}",
        b'{"kind":"renamed","version":1,"title":"\\ud800","create_time":1}',
        b'{"kind":"renamed","version":1,"title":"x","create_time":1e400}',
        b'{"kind":"renamed","version":1,"title":"x","create_time":999999999999999999999}',
        b'{"kind":"reply_ended","version":1,"reply_id":1,"outcome":"exploded","heard_text":"","played_ms":0}',
    ],
)
def test_a_row_that_is_no_event_is_a_fault_that_names_no_text(row: bytes) -> None:
    with pytest.raises(Fault) as raised:
        from_json(row)
    assert raised.value.reason == "STORE_CORRUPT"
    assert "exploded" not in f"{raised.value!r} {raised.value.metadata}"


@pytest.mark.parametrize(
    "fields",
    [
        {"conversation_id": "a b"},
        {"conversation_id": ""},
        {"create_time": datetime(2031, 1, 1)},
        {"title": "private" * 100},
        {"owner": "private \ud800"},
        {"persona": 5},
    ],
)
def test_a_conversation_that_cannot_be_stored_cannot_be_made(fields: dict[str, object]) -> None:
    whole: dict[str, object] = {"conversation_id": "c", "owner": "o", "create_time": NOW, "update_time": NOW}
    with pytest.raises(ValueError, match=next(iter(fields))) as raised:
        Conversation(**{**whole, **fields})  # type: ignore[arg-type]
    assert "private" not in repr(raised.value)


def test_what_was_said_is_not_in_the_repr_of_events() -> None:
    assert "secret" not in repr(
        [said("t1", "secret"), ended(1, "secret"), PhraseSpoken(1, 0, "secret", 0, 1)]
    )
