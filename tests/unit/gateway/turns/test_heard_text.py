"""`HeardText`: how much of a reply's text so much played audio has said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_gateway.turns.heard_text import HeardText, Phrase, WordStart
from parley_gateway.turns.text_joining import join_texts


def heard_text(*phrases: Phrase) -> HeardText:
    heard = HeardText()
    for phrase in phrases:
        heard.announce(phrase)
    return heard


TWO_PHRASES = heard_text(
    Phrase(0, "Good morning to you.", 0, 1_000),
    Phrase(1, " How are you?", 1_000, 600),
)


@pytest.mark.parametrize(
    ("played_ms", "text"),
    [
        (-5, ""),
        (0, ""),
        (199, ""),  # 3 of 20 characters
        (200, "Good"),
        (599, "Good"),  # 11 characters: "morning" lacks its last one
        (600, "Good morning"),
        (999, "Good morning to"),
        (1_000, "Good morning to you."),
        (1_001, "Good morning to you."),
        (1_300, "Good morning to you. How"),
        (1_600, "Good morning to you. How are you?"),
        (10**9, "Good morning to you. How are you?"),
    ],
)
def test_the_current_phrase_is_cut_after_the_last_whole_word(played_ms: int, text: str) -> None:
    assert TWO_PHRASES.heard(played_ms) == text


def test_word_marks_place_the_cut_exactly() -> None:
    words = (WordStart(0, 50), WordStart(5, 300), WordStart(13, 900))
    heard = heard_text(Phrase(0, "Good morning Ann", 0, 1_000, words))
    assert heard.heard(299) == ""
    assert heard.heard(300) == "Good"
    assert heard.heard(899) == "Good"
    assert heard.heard(900) == "Good morning"
    assert heard.heard(1_000) == "Good morning Ann"


def test_word_marks_place_the_cut_before_the_duration_is_known() -> None:
    words = (WordStart(0, 0), WordStart(5, 300))
    heard = heard_text(Phrase(0, "Good morning", 0, None, words))
    assert heard.heard(350) == "Good"


def test_a_phrase_of_unknown_length_without_word_marks_counts_as_unheard_until_it_is_whole() -> None:
    heard = heard_text(Phrase(0, "Good morning", 0, None))
    assert heard.heard(5_000) == ""
    heard.announce(Phrase(0, "Good morning", 0, 1_000))
    assert heard.heard(500) == "Good"
    assert len(heard.phrases) == 1


def test_a_phrase_ends_at_the_latest_where_the_next_one_begins() -> None:
    heard = heard_text(Phrase(0, "Good morning.", 0, None), Phrase(1, "Ann.", 800, 200))
    assert heard.heard(800) == "Good morning."


def test_chinese_is_cut_between_characters() -> None:
    heard = heard_text(Phrase(0, "今天天气很好。", 0, 700))
    assert heard.heard(350) == "今天天"
    assert heard.heard(699) == "今天天气很好"
    assert heard.heard(700) == "今天天气很好。"


def test_a_combining_mark_stays_with_its_character() -> None:
    heard = heard_text(Phrase(0, "กี่", 0, 300))
    assert heard.heard(100) == ""
    assert heard.heard(299) == ""
    assert heard.heard(300) == "กี่"


def test_nothing_of_a_phrase_that_has_not_begun_is_heard() -> None:
    heard = heard_text(Phrase(0, "One.", 0, 100), Phrase(2, "Two.", 5_000, 100))
    assert heard.heard(4_999) == "One."
    assert heard.heard(5_000) == "One."


def test_a_phrase_without_sound_is_heard_with_the_first_sound_after_it() -> None:
    heard = heard_text(Phrase(0, "🙂", 0, 0), Phrase(1, "Hi.", 0, 100))
    assert heard.heard(0) == ""
    assert heard.heard(1) == "🙂"


def test_a_quotation_mark_before_the_first_word_is_not_heard_alone() -> None:
    heard = heard_text(Phrase(0, "“Hello there”", 0, 1_000, (WordStart(1, 0), WordStart(7, 500))))
    assert heard.heard(499) == ""
    assert heard.heard(500) == "“Hello"


def test_a_phrase_is_heard_only_after_the_one_before_even_where_their_times_overlap() -> None:
    heard = heard_text(Phrase(0, "One two three.", 0, 1_000), Phrase(1, "Four.", 500, 100))
    assert heard.heard(700) == "One two"


def test_the_total_is_where_the_last_phrase_ends() -> None:
    assert HeardText().total_duration_ms == 0
    assert TWO_PHRASES.total_duration_ms == 1_600
    assert heard_text(Phrase(0, "One.", 250, None)).total_duration_ms == 250


@pytest.mark.parametrize(
    "phrase",
    [
        Phrase(0, "One.", 0, 100),
        Phrase(1, "Another text.", 100, 100),
        Phrase(1, "Two.", 101, 100),
        Phrase(2, "Three.", 99, 100),
    ],
)
def test_a_phrase_out_of_order_is_refused_and_leaves_the_rest_alone(phrase: Phrase) -> None:
    heard = heard_text(Phrase(0, "One.", 0, 100), Phrase(1, "Two.", 100, 100))
    with pytest.raises(ValueError, match="announced"):
        heard.announce(phrase)
    assert heard.full_text == "One. Two."


@pytest.mark.parametrize(
    ("index", "start_ms", "duration_ms", "words"),
    [
        (-1, 0, 1, ()),
        (0, -1, 1, ()),
        (0, 0, -1, ()),
        (0, 0, 1, (WordStart(8, 0),)),
        (0, 0, 1, (WordStart(-1, 0),)),
        (0, 0, 1, (WordStart(2, 0), WordStart(2, 1))),
        (0, 0, 1, (WordStart(2, 5), WordStart(3, 4))),
    ],
)
def test_a_phrase_that_makes_no_sense_is_refused_without_quoting_it(
    index: int, start_ms: int, duration_ms: int, words: tuple[WordStart, ...]
) -> None:
    with pytest.raises(ValueError, match="phrase") as refusal:
        Phrase(index, "a secret", start_ms, duration_ms, words)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        ("", "b", "b"),
        ("a", "", "a"),
        ("a", "b", "a b"),
        ("a ", "b", "a b"),
        ("a", "\nb", "a\nb"),
        ("你好，", "世界", "你好，世界"),
        ("你好", "Ann", "你好Ann"),
        ("안녕", "세상", "안녕 세상"),
    ],
)
def test_texts_are_joined_as_their_script_wants_it(left: str, right: str, joined: str) -> None:
    assert join_texts(left, right) == joined


_TEXTS = st.text(alphabet=st.sampled_from("ab, .\n你好。éก่ี🙂"), max_size=12)


@st.composite
def replies(draw: st.DrawFn) -> HeardText:
    """Phrases with gaps, some with word marks, as a synthesiser might announce them."""
    heard = HeardText()
    start_ms = 0
    for index in range(draw(st.integers(0, 5))):
        start_ms += draw(st.integers(0, 300))
        text = draw(_TEXTS)
        duration_ms = draw(st.integers(0, 2_000))
        offsets = sorted(draw(st.sets(st.integers(0, len(text) - 1)))) if text else []
        times = sorted(
            draw(
                st.lists(
                    st.integers(start_ms, start_ms + duration_ms),
                    min_size=len(offsets),
                    max_size=len(offsets),
                )
            )
        )
        words = tuple(WordStart(*pair) for pair in zip(offsets, times, strict=True))
        heard.announce(Phrase(index * 2, text, start_ms, duration_ms, words))
        start_ms += duration_ms
    return heard


@given(replies(), st.integers(-10, 12_000), st.integers(0, 12_000))
def test_heard_text_is_a_growing_beginning_of_the_full_text(
    heard: HeardText, played_ms: int, more_ms: int
) -> None:
    earlier, later = heard.heard(played_ms), heard.heard(played_ms + more_ms)
    assert later.startswith(earlier)
    assert heard.full_text.startswith(later)


@given(replies())
def test_nothing_is_heard_at_zero_and_everything_at_the_end(heard: HeardText) -> None:
    assert heard.heard(0) == ""
    assert heard.heard(max(1, heard.total_duration_ms)) == heard.full_text


@given(replies(), st.integers(0, 12_000))
def test_no_phrase_is_heard_before_it_begins(heard: HeardText, played_ms: int) -> None:
    begun = [
        phrase.text
        for phrase in heard.phrases
        if phrase.start_ms < played_ms or (phrase.start_ms == played_ms and phrase.duration_ms == 0)
    ]
    assert len(heard.heard(played_ms)) <= sum(len(text) + 1 for text in begun)


@given(replies(), st.data())
def test_a_spaced_word_is_never_cut(heard: HeardText, data: st.DataObject) -> None:
    plain = heard_text(
        *(Phrase(p.index, "some words here", p.start_ms, p.duration_ms) for p in heard.phrases)
    )
    text = plain.heard(data.draw(st.integers(0, 12_000)))
    assert set(text.split()) <= {"some", "words", "here"}
