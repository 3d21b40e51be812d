import json

import pytest
import torch

from r2cmn.data.tokenizer import CLEANING, UNKNOWN, Tokenizer, clean_iu_xray, clean_mimic_cxr

BOTH = [clean_iu_xray, clean_mimic_cxr]


@pytest.mark.parametrize("clean", BOTH)
@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("The LUNGS are clear. No effusion.", "the lungs are clear . no effusion ."),
        ("", "."),
        ("Clear. . Normal.", "clear . . normal ."),  # an empty sentence leaves its full stop
        ("1. Clear lungs. 2. No effusion. 5. Old fracture.", "clear lungs . no effusion . old fracture ."),
        ("Clear 3. normal", "clear . normal ."),  # a mark without a full stop before it becomes one
        ("Clear. 6. Normal.", "clear . 6 . normal ."),  # marks end at 5
        ("Vertebra 11. Normal.", "vertebra 1normal ."),  # "1. " goes wherever it stands
        ("1.. Clear", "clear ."),  # two full stops are one, before marks are looked for
        ("l1-l2 <3 cm @ t=4 #5 $6 ~7 |8 `9", "l1-l2 3 cm t4 #5 $6 ~7 |8 `9 ."),  # the range `:` to `[`
        ('and/or "quoted" it\'s back\\slash', "andor quoted its backslash ."),
        ("a.b? (c) [d] {e}; f: g! h% i^ j& k_ l+ m* n,", "ab c d e f g h i j k l m n ."),
        ("Grö\u00dfe NORMAL\u00c9", "grö\u00dfe normal\u00e9 ."),
    ],
)
def test_cleaning(clean, report, words):
    assert clean(report).split() == words.split()


def test_only_the_cleaning_of_mimic_cxr_joins_lines_and_blanks():
    assert clean_iu_xray("Clear.\nNormal.").split() == ["clear", "normal", "."]
    assert clean_mimic_cxr("Clear.\nNormal.").split() == ["clear", ".", "normal", "."]
    assert clean_iu_xray("Clear.  2. Normal.").split() == ["clear", ".", ".", "normal", "."]
    assert clean_mimic_cxr("Clear.  2. Normal.").split() == ["clear", ".", "normal", "."]


def test_runs_are_collapsed_a_fixed_number_of_times():
    assert clean_iu_xray("1" + "." * 8 + " clear").split() == ["clear", "."]
    assert clean_iu_xray("1" + "." * 9 + " clear").split() == ["1", ".", "clear", "."]
    assert clean_mimic_cxr("1" + "." * 256 + " clear").split() == ["clear", "."]
    assert clean_mimic_cxr("1" + "." * 257 + " clear").split() == ["1", ".", "clear", "."]
    assert clean_mimic_cxr("clear." + " " * 64 + "2. normal").split() == ["clear", ".", "normal", "."]
    assert clean_mimic_cxr("clear." + " " * 65 + "2. normal").split() == ["clear", ".", ".", "normal", "."]


def test_build_keeps_frequent_words_in_sorted_order():
    tokenizer = Tokenizer.build(["Zone clear.", "Clear clear lungs.", "Zone lungs"], threshold=2)
    assert tokenizer.words == [".", UNKNOWN, "clear", "lungs", "zone"]
    assert tokenizer.vocabulary_size == 6
    assert Tokenizer.build(["Zone clear.", "Clear clear lungs.", "Zone lungs"], threshold=3).words == [
        ".",
        UNKNOWN,
        "clear",
    ]


def test_encode_and_decode():
    tokenizer = Tokenizer([".", UNKNOWN, "clear", "lungs"])
    assert tokenizer.encode("Clear lungs. Dextrocardia.") == [0, 3, 4, 1, 2, 1, 0]
    assert tokenizer.decode(tokenizer.encode("Clear lungs. Dextrocardia.")[1:]) == "clear lungs . <unk> ."
    assert tokenizer.decode(torch.tensor([3, 4, 0, 3])) == "clear lungs"


def test_a_truncated_report_has_no_closing_zero():
    tokenizer = Tokenizer([".", UNKNOWN, "clear"], max_length=5)
    assert tokenizer.encode("clear clear") == [0, 3, 3, 1, 0]
    assert tokenizer.encode("clear clear clear") == [0, 3, 3, 3, 1]
    assert tokenizer.encode("clear clear clear clear") == [0, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("ids", "text"), [([], ""), ([0, 1], ""), ([3, 0, 1], "clear"), ([3, -1, 1], "clear"), ([1, 1], ". .")]
)
def test_decode_stops_at_the_first_id_that_is_not_above_zero(ids, text):
    tokenizer = Tokenizer([".", UNKNOWN, "clear"])
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(torch.tensor(ids, dtype=torch.int64)) == text


def test_dict_rebuilds_and_is_plain():
    tokenizer = Tokenizer.build(["Clear lungs."], threshold=1, cleaning="mimic_cxr", max_length=7)
    content = json.loads(json.dumps(tokenizer.to_dict()))
    again = Tokenizer(**content)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.encode("Clear\nlungs") == tokenizer.encode("Clear\nlungs")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"words": ["a", "b"]}, "lacks '<unk>'"),
        ({"words": [UNKNOWN, "b", "b"]}, "'b' more than once"),
        ({"words": [UNKNOWN], "cleaning": "german"}, "cleaning is one of iu_xray, mimic_cxr, not 'german'"),
        ({"words": [UNKNOWN], "max_length": 1}, "max_length is 1"),
    ],
)
def test_invalid_tokenizers_raise(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Tokenizer(**arguments)


def test_threshold_below_one_and_ids_beyond_the_vocabulary_raise():
    with pytest.raises(ValueError, match="threshold is 0"):
        Tokenizer.build(["a"], threshold=0)
    with pytest.raises(ValueError, match="id 2 is beyond the vocabulary of 1 words"):
        Tokenizer([UNKNOWN]).decode([2])


@pytest.mark.golden
def test_cleaning_equals_the_recorded_outcomes(golden_dir):
    recorded = json.loads((golden_dir / "tokenizer" / "tricky.json").read_text())
    assert len(recorded) == 799
    for case in recorded:
        assert clean_iu_xray(case["s"]) == case["iu"]
        assert clean_mimic_cxr(case["s"]) == case["mimic"]


@pytest.mark.golden
def test_ids_and_texts_equal_the_recorded_ones(golden_dir):
    folder = golden_dir / "tokenizer"
    tokenizer = Tokenizer(json.loads((folder / "iu_vocab.json").read_text())["tokens"], max_length=10**6)
    assert tokenizer.vocabulary_size == 761
    for case in json.loads((folder / "tricky.json").read_text()):
        assert tokenizer.encode(case["s"]) == case["iu_ids"]
    for case in json.loads((folder / "decode.json").read_text())["decode"]:
        assert tokenizer.decode(case["ids"]) == case["text"]


@pytest.mark.golden
@pytest.mark.realdata
def test_real_reports_get_the_recorded_ids(golden_dir, iu_xray_dir):
    folder = golden_dir / "tokenizer"
    annotation = json.loads((iu_xray_dir / "annotation.json").read_text())
    tokenizer = Tokenizer.build([entry["report"] for entry in annotation["train"]], threshold=3)
    assert len(tokenizer.words) == 760
    assert tokenizer.words == json.loads((folder / "iu_vocab.json").read_text())["tokens"]
    recorded = json.loads((folder / "iu_ids_full.json").read_text())
    texts = json.loads((folder / "iu_groundtruth_decoded_val_test.json").read_text())
    cut = 0
    for split, entries in annotation.items():
        for entry in entries:
            full = recorded[split][entry["id"]]
            ids = tokenizer.encode(entry["report"])
            assert ids == full[:60]
            cut += len(full) > 60
            if split in texts:
                assert tokenizer.decode(ids[1:]) == texts[split][entry["id"]]
    assert cut > 200


@pytest.mark.golden
@pytest.mark.realdata
def test_the_cleaning_of_mimic_cxr_gives_the_recorded_vocabulary(golden_dir, iu_xray_dir):
    annotation = json.loads((iu_xray_dir / "annotation.json").read_text())
    reports = [entry["report"] for entry in annotation["train"]]
    recorded = json.loads((golden_dir / "tokenizer" / "iu_text_mimic_cleaner_threshold10_vocab.json").read_text())
    assert Tokenizer.build(reports, 10, "mimic_cxr", 100).words == recorded["tokens"]


def test_every_cleaning_is_idempotent_in_words():
    for clean in CLEANING.values():
        once = clean("The heart (size) is 3 cm. No effusion.")
        assert clean(once).split() == once.split()


@pytest.mark.golden
@pytest.mark.realdata
def test_all_words_of_real_reports_get_the_recorded_ids(golden_dir, iu_xray_dir):
    """Without the cut, with the numbers of the released code: reports, cut ones, words not known."""
    folder = golden_dir / "tokenizer"
    annotation = json.loads((iu_xray_dir / "annotation.json").read_text())
    recorded = json.loads((folder / "iu_ids_full.json").read_text())
    counts = json.loads((folder / "stats.json").read_text())["lens"]
    whole = Tokenizer.build([entry["report"] for entry in annotation["train"]], threshold=3, max_length=10**6)
    unknown = whole.words.index(UNKNOWN) + 1
    assert sum(map(len, recorded.values())) == 2955
    absent = 0
    for split, entries in annotation.items():
        rows = {entry["id"]: whole.encode(entry["report"]) for entry in entries}
        missing = recorded[split].keys() - rows.keys()  # two studies were recorded that this copy of the set lacks
        absent += len(missing)
        assert rows == {study: row for study, row in recorded[split].items() if study in rows}
        rows |= {study: recorded[split][study] for study in missing}
        assert len(rows) == counts[split]["n"]
        assert sum(len(row) > 60 for row in rows.values()) == counts[split]["truncated"]
        assert sum(row.count(unknown) for row in rows.values()) == counts[split]["unk"]
    print(f"{2955 - absent} of the 2955 recorded reports are in the annotation")
    assert absent <= 2
