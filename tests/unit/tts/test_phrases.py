"""PhraseCutter: what a text is cut into, and that delivery does not matter."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_tts.phrases import FIRST_PHRASE_MAX_UNITS, PHRASE_MAX_UNITS, Phrase, PhraseCutter

_LOOKAHEAD = 48


def cut(*pieces: str) -> list[Phrase]:
    cutter = PhraseCutter()
    phrases = []
    for piece in pieces:
        cutter.push(piece)
        phrases += iter(cutter.next_phrase, None)
    cutter.finish()
    phrases += iter(cutter.next_phrase, None)
    assert cutter.is_exhausted
    return phrases


def texts(text: str) -> list[str]:
    return [phrase.text for phrase in cut(text)]


def spoken(text: str) -> list[str]:
    return [phrase.spoken.text for phrase in cut(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes I can. And so can you.", ["Yes I can. ", "And so can you."]),
        ("Of course you can, if you try.", ["Of course you can, ", "if you try."]),
        (
            "We walked along the river because it was warm.",
            ["We walked along the river ", "because it was warm."],
        ),
        ("Really?! Yes!! Good.", ["Really?! ", "Yes!! ", "Good."]),
        ('He said "Go." Then he left.', ['He said "Go." ', "Then he left."]),
        ('"Really?" she said. (Yes.) Then.', ['"Really?" she said. ', "(Yes.) ", "Then."]),
        ("Wait... what? Oh...  Nothing.", ["Wait... what? ", "Oh... ", " Nothing."]),
        ("你好。今天很好！走吧？好", ["你好。", "今天很好！", "走吧？", "好"]),
        ("今天天气很好，我们走吧；好。", ["今天天气很好，", "我们走吧；好。"]),
        ("“你好。”他说。「行！」她说。", ["“你好。”", "他说。", "「行！」", "她说。"]),
        ("Ça va ? Oui, merci ! Bien.", ["Ça va ? ", "Oui, merci ! ", "Bien."]),
        ("هل أنت بخير؟ نعم.", ["هل أنت بخير؟ ", "نعم."]),
        ("आप कैसे हैं। ठीक।", ["आप कैसे हैं। ", "ठीक।"]),
        ("One\n\nTwo", ["One\n", "\nTwo"]),
        ("List:\n- milk\n- bread\n", ["List:\n", "- milk\n", "- bread\n"]),
        ("1. Milk\n2. Bread\n", ["1. Milk\n", "2. Bread\n"]),
        ("Great!😀 Next 👍🏽", ["Great!😀 ", "Next 👍🏽"]),
    ],
)
def test_cuts_where_a_reader_would_breathe(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "It is 3.14 or 10,000 at 12:30 today",
        "Mr. J. R. Smith vs. Dr. No lives in St. Ives",
        "Fruit, e.g. apples",
        "See https://example.com/a.b?c=d,e;f:g now",
        "No. 5 lives at example.org today",
        "The U.S. Army came",
        "z.B. Berlin",
        "Version 1.2.3-beta.4 works",
        "Well... maybe",
    ],
)
def test_does_not_cut_inside_numbers_abbreviations_and_addresses(text: str) -> None:
    after_first_words = "Yes. " + text + "."
    assert texts(after_first_words) == ["Yes. ", text + "."]


def test_the_first_phrase_is_short_even_without_punctuation() -> None:
    text = "word " * 60
    phrases = cut(text)
    assert len(phrases[0].text) <= FIRST_PHRASE_MAX_UNITS
    assert phrases[0].text.endswith(" ")
    assert len(phrases[1].text) > FIRST_PHRASE_MAX_UNITS


def test_an_ordinary_sentence_is_given_as_soon_as_its_space_is_seen() -> None:
    cutter = PhraseCutter()
    cutter.push("Yes I can.")
    assert cutter.next_phrase() is None
    cutter.push(" ")
    phrase = cutter.next_phrase()
    assert phrase is not None and phrase.text == "Yes I can. " and phrase.ends_sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title", "Title"),
        ("**Bold** and *slanted* and `code` and ~~gone~~", "Bold and slanted and code and gone"),
        ("[our docs](https://example.com/x)", "our docs"),
        ("https://www.example.com/a/b?c", "example.com"),
        ("snake_case", "snake case"),
        ("3*4 is 12", "3*4 is 12"),
        ("I\u00ad am\u200b here\x00\x07", "I am here"),
        ("> quoted", "quoted"),
        ("a | b |", "a b"),
        ("<b>bold</b> and 1 < 2", "bold and 1 < 2"),
        ("tab\tand\r\nline", "tab and line"),
        ("می‌خواهم", "می‌خواهم"),
        ("😀🎉", ""),
        ("?!…", ""),
    ],
)
def test_speaks_words_and_not_their_decoration(text: str, expected: str) -> None:
    assert " ".join(part for part in spoken(text) if part) == expected
    assert "".join(texts(text)) == text


def test_every_spoken_character_knows_where_it_was_written() -> None:
    (phrase,) = cut("😀 **Bold** _word_")
    assert phrase.spoken.text == "Bold word"
    assert [phrase.text[offset] for offset in phrase.spoken.offsets] == list("Bold word")


@pytest.mark.parametrize("text", ["", "   ", "...", "\n\n", "🙂🙂", "---"])
def test_what_cannot_be_spoken_gives_no_speech_and_loses_no_text(text: str) -> None:
    assert all(not part for part in spoken(text))
    assert "".join(texts(text)) == text


def test_punctuation_alone_is_no_phrase_of_its_own_within_a_text() -> None:
    assert texts("... !!! Yes. ") == ["... !!! Yes. "]


def test_a_finished_cutter_takes_no_more() -> None:
    cutter = PhraseCutter()
    cutter.finish()
    with pytest.raises(RuntimeError):
        cutter.push("more")


_TRICKY_TEXT = """
Hello and Dr. e.g. 3.14 10,000 12:30 U.S. no. No. I. p.m. https://a.b/c.d wait... what?! 你好。 今天很好，
“是。” …… そう、 ok. etc. (yes.) "Go." — - # 1. ** _a_ ` 😀 👍🏽 สวัสดี a,b ، ؟ [l](u)
"""
_TRICKY = _TRICKY_TEXT.split()
_WORDS = st.sampled_from([*_TRICKY, "\n", "\n\n", "# ", "- ", "1. ", "x" * 90, "字" * 40, "\x00"])
_TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(st.tuples(_WORDS, st.sampled_from(["", " ", "  ", "\n"])), max_size=60).map(
        lambda parts: "".join(itertools.chain.from_iterable(parts))
    ),
    st.text(alphabet=" .,!?…。，\n\"'*aA1字-", max_size=600),
)


@given(text=_TEXTS, places=st.lists(st.integers(0, 700), max_size=40))
@settings(max_examples=200, deadline=None)
def test_phrases_do_not_depend_on_how_the_text_is_delivered(text: str, places: list[int]) -> None:
    edges = sorted({0, len(text), *(place for place in places if place < len(text))})
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    whole = PhraseCutter()
    whole.push(text)
    whole.finish()
    expected = list(iter(whole.next_phrase, None))
    assert cut(*pieces) == expected
    assert cut(*text) == expected
    assert "".join(phrase.text for phrase in expected) == text
    assert [phrase.index for phrase in expected] == list(range(len(expected)))


@given(text=_TEXTS)
@settings(max_examples=200, deadline=None)
def test_phrases_are_bounded_and_their_places_true(text: str) -> None:
    for phrase in cut(text):
        assert 0 < len(phrase.text) <= PHRASE_MAX_UNITS + _LOOKAHEAD
        assert len(phrase.spoken.text) == len(phrase.spoken.offsets)
        assert list(phrase.spoken.offsets) == sorted(set(phrase.spoken.offsets))
        assert not re.search(r"[\x00-\x1f]", phrase.spoken.text)
        assert not phrase.spoken.text or any(map(str.isalnum, phrase.spoken.text))
        for character, offset in zip(phrase.spoken.text, phrase.spoken.offsets, strict=True):
            assert character in (phrase.text[offset], " ")


_NUMBERS = st.from_regex(
    r"[1-9][0-9]{0,2}(,[0-9]{3}){0,2}(\.[0-9]{1,4})?|[0-9]{1,2}:[0-9]{2}", fullmatch=True
)


@given(numbers=st.lists(_NUMBERS, min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_no_number_is_ever_cut(numbers: list[str]) -> None:
    text = "Count " + " ".join(numbers)
    assert [word for part in texts(text) for word in part.split()] == text.split()


def test_a_megabyte_without_any_boundary_comes_out_whole_in_bounded_phrases() -> None:
    text = "." * (1 << 18)
    phrases = cut(text)
    assert sum(len(phrase.text) for phrase in phrases) == len(text)
    assert not any(phrase.spoken.text for phrase in phrases)
