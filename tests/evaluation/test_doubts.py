"""Sentences about texts that hardly are those that somebody meant to score."""

from r2cmn.evaluation.doubts import notes_on_texts

CLEAR = "the lungs are clear ."


def test_empty_texts_are_counted():
    assert notes_on_texts([CLEAR] * 3, [CLEAR] * 3) == []
    assert notes_on_texts(["", " ", CLEAR], [CLEAR] * 3) == ["2 of 3 reports are empty"]
    assert notes_on_texts(["", ""], ["", "\n"]) == ["all 2 reports are empty", "all 2 references are empty"]


def test_references_of_another_data_set_are_noted():
    assert "100% of the words of the reports are in no reference" in notes_on_texts([CLEAR], ["肺野 清晰 。"])[0]
    note = notes_on_texts([CLEAR], ["the <unk> are <unk> ."])
    assert [each.split(":")[0] for each in note] == ["40% of the words of the references are <unk>"]
    assert notes_on_texts(["an odd report"], [""]) == ["all 1 references are empty"]
