"""Sentences about texts that hardly are those that somebody meant to score."""

from r2cmn.data.reports import Study
from r2cmn.evaluation.doubts import notes_on_repeats, notes_on_texts

CLEAR = "the lungs are clear ."


def test_entries_of_one_study_are_counted():
    entries = [("p", CLEAR), ("p", CLEAR), ("p", "other"), ("q", CLEAR), (None, CLEAR), (None, CLEAR)]
    studies = [Study(str(n), report, (), "test", patient) for n, (patient, report) in enumerate(entries)]
    assert notes_on_repeats(studies)[0].startswith("1 of 6 entries of the test")
    assert notes_on_repeats(studies[1:]) == []


def test_empty_texts_are_counted():
    assert notes_on_texts([CLEAR] * 3, [CLEAR] * 3) == []
    assert notes_on_texts(["", " ", CLEAR], [CLEAR] * 3) == ["2 of 3 reports are empty"]
    assert notes_on_texts(["", ""], ["", "\n"]) == ["all 2 reports are empty", "all 2 references are empty"]


def test_references_of_another_data_set_are_noted():
    assert "100% of the words of the reports are in no reference" in notes_on_texts([CLEAR], ["肺野 清晰 。"])[0]
    note = notes_on_texts([CLEAR], ["the <unk> are <unk> ."])
    assert [each.split(":")[0] for each in note] == ["40% of the words of the references are <unk>"]
    assert notes_on_texts(["an odd report"], [""]) == ["all 1 references are empty"]
