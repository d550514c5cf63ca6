"""What was played is compared with what is stored, word by word."""

from bench.cuts import Cut, CutReply
from bench.scenarios import heard_text
from parley.gateway.v1 import history_service_pb2 as history_pb2

SPOKEN = {
    "Of course. ": heard_text.Spoken("Of course.", ((2, 300.0), (10, 700.0))),
    "It is far. ": heard_text.Spoken("It is far.", ((2, 200.0), (5, 400.0), (10, 900.0))),
}
PHRASES = {0.0: "Of course. ", 800.0: "It is far. "}


def judged(played_ms: float, stored: str) -> tuple[int, int]:
    reply = CutReply(Cut(played_ms, reports=True), played_ms=played_ms, phrases=PHRASES)
    found = heard_text.judge(reply, stored, SPOKEN)
    return found.error_chars, found.unheard_phrase_count


def test_words_count_once_their_audio_is_over() -> None:
    assert judged(299, "") == (0, 0)
    assert judged(300, "Of") == (0, 0)
    assert judged(1250, "Of course. It is") == (0, 0)
    assert judged(5000, "Of course. It is far.") == (0, 0)


def test_too_much_and_too_little_are_told_apart() -> None:
    assert judged(300, "Of course.") == (8, 0)
    assert judged(700, "Of") == (-8, 0)


def test_a_remembered_phrase_of_which_nothing_was_played_is_counted() -> None:
    assert judged(750, "Of course. It") == (3, 1)
    assert judged(850, "Of course. It") == (3, 0)  # its first word had begun


def test_cuts_are_planned_from_the_seed_and_half_of_them_are_reported() -> None:
    cuts = heard_text.planned_cuts(4, 5, 6, 2.5)
    assert cuts == heard_text.planned_cuts(4, 5, 6, 2.5)
    assert cuts != heard_text.planned_cuts(5, 5, 6, 2.5)
    assert sum(cut.reports for each in cuts for cut in each) == 15


def test_a_reply_of_which_nothing_was_heard_leaves_its_place_empty() -> None:
    speakers = (
        (history_pb2.SPEAKER_USER, "a"),
        (history_pb2.SPEAKER_USER, "b"),
        (history_pb2.SPEAKER_ASSISTANT, "Of"),
    )
    turns = [history_pb2.ConversationTurn(speaker=speaker, text=text) for speaker, text in speakers]
    assert heard_text.stored_texts(history_pb2.GetConversationResponse(turns=turns)) == {1: "Of"}
