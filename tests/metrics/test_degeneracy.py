"""Counts of repeated, empty and known reports."""

from collections import Counter

import pytest

from r2cmn.metrics.degeneracy import LOGGED, degeneracy


def test_degeneracy_is_counted():
    generated = ["a b .", "a  b .", "", "c ."]
    found = degeneracy(generated, ["x .", "y .", "x .", "z z ."], [True, False, True, False])
    most = Counter(" ".join(text.split()) for text in generated).most_common(1)[0][1]
    assert found == {
        "distinct": 3 / 4, "most_common": most / 4, "mean_length": (3 + 3 + 0 + 2) / 4, "mean_reference_length": 9 / 4,
        "empty": 1.0, "seen_references": 2 / 4,
    }  # fmt: skip
    assert "seen_references" not in degeneracy(generated, ["x ."] * 4)


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        (["a b", "c", "a  b\n", "d e f ."], {"distinct": 0.75, "most_common": 0.5, "mean_length": 9 / 4}),
        (["a ."] * 5, {"distinct": 0.2, "most_common": 1.0, "mean_length": 2.0}),
        (["", "a", "b", "c"], {"distinct": 1.0, "most_common": 0.25, "mean_length": 0.75}),
        ([""], {"distinct": 1.0, "most_common": 1.0, "mean_length": 0.0}),
    ],
)
def test_degeneracy_by_hand(generated, expected):
    found = degeneracy(generated)
    assert {name: found[name] for name in LOGGED} == expected


def test_degeneracy_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no reports"):
        degeneracy([])
