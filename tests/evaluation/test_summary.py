"""The end of a run: its table and its sample reports."""

from r2cmn.evaluation.summary import sample_reports


def test_sample_reports_are_cut_to_two_lines_and_an_empty_one_says_so():
    reports = [(index, "" if index == 4 else "a long report " * 40, "the reference .") for index in range(9)]
    lines = [line.plain for line in sample_reports(reports, 3, 100)]
    assert [line.splitlines()[0][:18] for line in lines[::2]] == [f"study {n}, generated"[:18] for n in (0, 3, 6)]
    assert all(len(line.splitlines()) == 2 for line in lines[::2])
    assert max(len(row) for line in lines for row in line.splitlines()) <= 100
    assert lines[0].endswith(" …")
    assert lines[1].endswith("reference  the reference .")
    (generated, _) = sample_reports(reports[4:5], 3, 100)
    assert generated.plain == "study 4, generated  (empty)"
