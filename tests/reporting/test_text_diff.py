import random

import pytest

from ffmerge_core.reporting.text_diff import Span, parting, word_diff


def changed(spans):
    return [span.text for span in spans if span.changed]


def whole(spans):
    return "".join(span.text for span in spans)


def test_changed_words_are_told_on_both_sides():
    before, after = word_diff("Le bus va à Rome.", "Le train va vite à Rome.")
    assert changed(before) == ["bus"]
    assert changed(after) == ["train", "vite"]


def test_neighbouring_changed_words_are_one_span():
    before, after = word_diff("a b c d", "a x y d")
    assert before == (Span("a ", False), Span("b c", True), Span(" d", False))
    assert after == (Span("a ", False), Span("x y", True), Span(" d", False))


@pytest.mark.parametrize("text", ["", "one", "l’été, « oui » ; 19,9 %", "two\n  lines"])
def test_equal_texts_have_no_change(text):
    for spans in (*word_diff(text, text), *parting(text, text)):
        assert changed(spans) == []
        assert whole(spans) == text


def test_white_space_alone_is_no_change_of_words():
    assert [changed(spans) for spans in word_diff("a  b", "a b ")] == [[], []]


def test_against_nothing_all_is_changed():
    assert word_diff("", "a b") == ((), (Span("a b", True),))
    assert parting("", "a b") == ((), (Span("a b", True),))


def test_the_spans_always_add_up_to_the_texts_and_equal_words_pair_up():
    draw = random.Random(0)
    for _ in range(200):
        one, other = (
            "".join(draw.choice(["a", "bb", "é", " ", "\n", ".", "’"]) for _ in range(12))
            for _ in range(2)
        )
        for spans in (word_diff(one, other), parting(one, other)):
            assert whole(spans[0]) == one
            assert whole(spans[1]) == other
        kept = ["".join(s.text for s in side if not s.changed) for side in word_diff(one, other)]
        assert "".join(kept[0].split()) == "".join(kept[1].split())


def test_texts_part_at_the_start_of_a_word():
    one, other = parting("return self.name", "return self.nothing")
    assert one == (Span("return self.", False), Span("name", True))
    assert other == (Span("return self.", False), Span("nothing", True))


def test_a_text_that_ends_where_the_other_goes_on():
    one, other = parting("return 1", "return 12 + 3")
    assert (changed(one), changed(other)) == (["1"], ["12 + 3"])
    one, other = parting("return", "return x")
    assert (changed(one), changed(other)) == ([], [" x"])
