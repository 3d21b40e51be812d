import pytest

from r2cmn.metrics.labeler import RuleLabeler
from r2cmn.metrics.labeler.sentences import MAX_LENGTH, sentences


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("Heart normal. Lungs clear.", ["heart normal", "lungs clear"]),
        ("heart normal . lungs clear .", ["heart normal", "lungs clear"]),
        ("A 1.5 cm nodule", ["a 1.5 cm nodule"]),
        ("No\neffusion\n\nEdema", ["no effusion", "edema"]),
        ("- Edema\n - Effusion\n* Mass", ["edema", "effusion", "mass"]),
        ("Edema; effusion? Mass!", ["edema", "effusion", "mass"]),
        ("Right-sided (small) effusion,edema", ["right sided , small , effusion , edema"]),
        ("Atelectasis vs. pneumonia", ["atelectasis versus pneumonia"]),
        ("edema/effusion and/or mass, w/o collapse", ["edema , effusion or mass , without collapse"]),
        ("We can’t exclude – edema", ["we can't exclude edema"]),
        ("<unk> effusion ___", ["xxxx effusion xxxx"]),
        ("Effusion, if present at all, is small", ["effusion if any is small"]),
        ("effusions are small , if any .", ["effusions are small if any"]),
        ("Effusion is smaller, if anything, today", ["effusion is smaller , if anything , today"]),
        ("Pneumonia, however, cannot be excluded", ["pneumonia cannot be excluded"]),
        ("No effusion, however, pneumonia", ["no effusion , however , pneumonia"]),
        ("Effusion: none.No mass", ["effusion : none", "no mass"]),
        ("", []),
    ],
)
def test_sentences_by_hand(report, expected):
    assert [sentence for sentence in sentences(report) if sentence] == expected


@pytest.mark.parametrize("word", ["effusion ", "x" * 50, "a, "])
def test_no_sentence_is_longer_than_the_limit_and_no_word_is_lost(word):
    report = word * 2000
    found = list(sentences(report))
    assert max(map(len, found)) <= MAX_LENGTH
    assert "".join(found).replace(" ", "") == report.replace(" ", "")


DEGENERATE = {
    "one word": "effusion ",
    "cues": "no possible effusion or cannot exclude edema , and the heart is normal or not ",
    "conditions": "if there is effusion , if any , but a small one may be , ",
    "heart": "heart and mediastinum and ",
    "state": "normal and the heart ",
    "commas": ", small x ",
    "no spaces": "effusion,",
    "one letter": "a",
    "full stops": ".",
    "line breaks": "\n ",
    "unknown": "<unk> ",
    "underscores": "_",
    "spaces": " ",
    "other letters": "é心☃ ",
}


# a pattern that tries every way to split its text would need hours: these end long before, or hang and are ended


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", DEGENERATE)
def test_two_thousand_repeats_are_labeled_in_linear_time(name):
    assert RuleLabeler()([DEGENERATE[name] * 2000]).shape == (1, 14)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DEGENERATE)
def test_a_line_of_a_megabyte_is_labeled_in_linear_time(name):
    word = DEGENERATE[name]
    assert RuleLabeler()([word * (1_000_000 // len(word))]).shape == (1, 14)
