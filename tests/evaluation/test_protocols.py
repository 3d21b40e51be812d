"""References of each protocol, against the tokenizer and plain loops."""

from dataclasses import replace

import pytest

from r2cmn.data.chexpert_plus import CheXpertPlusDataModule
from r2cmn.data.iu_xray import IUXRayDataModule
from r2cmn.data.mimic_cxr import MIMICCXRDataModule
from r2cmn.data.tokenizer import TEXT_RULES, Tokenizer
from r2cmn.evaluation.protocols import (
    MEANING,
    Protocol,
    as_words,
    clean,
    is_prose,
    prepare,
    released_and_full,
)  # fmt: skip
from r2cmn.evaluation.read import Annotation, Predictions


def predictions(tmp_path, generated, references, annotation=None, section=None):
    ids = [str(i) for i in range(len(generated))]
    return Predictions(tmp_path / "p.csv", ids, generated, references, {}, annotation, section)


def annotated(tmp_path, reports, training, studies=()):
    columns = {"study_id": list(studies), "subject_id": list(studies)} if studies else {}
    ids = [str(i) for i in range(len(reports))]
    dataset = "mimic_cxr" if studies else "iu_xray"
    return Annotation(tmp_path / "annotation.json", "test", ids, reports, training, columns, None, dataset)


def test_text_rules_are_those_of_the_data_modules():
    modules = (IUXRayDataModule, MIMICCXRDataModule, CheXpertPlusDataModule)
    assert {module.dataset_name: module.text_defaults for module in modules} == TEXT_RULES


def test_the_name_of_a_protocol_has_all_its_parts():
    assert Protocol("released-1", "findings", "cleaned-iu_xray").name == "released-1/findings/cleaned-iu_xray/coco"
    with pytest.raises(ValueError, match="no protocol 'released-2': there are released-1"):
        Protocol("released-2")
    assert all(name.rpartition("-")[2].isdigit() for name in MEANING)


def test_released_is_cut_and_unknown_and_full_is_whole():
    tokenizer = Tokenizer(["<unk>", "are", "clear", "lungs", "the", "."], "iu_xray", max_length=5)
    released, full = released_and_full(
        tokenizer, ["The lungs are markedly clear. No change."], ["The lungs are barely clear. No change."]
    )
    assert released.texts == ["the lungs are <unk>"]
    assert full.texts == ["the lungs are markedly clear . no change ."]
    assert [each.protocol.version for each in (released, full)] == ["released-1", "full-1"]
    assert released.seen == full.seen == [False], "cut they are equal, but one definition counts: cleaned and whole"
    assert released.protocol.name.startswith("released-1/findings/cleaned-iu_xray/")


def test_an_annotation_gives_both_protocols_with_the_words_of_train(tmp_path):
    training = ["The lungs are clear."] * 3
    source = annotated(tmp_path, ["The lungs are dim."], training)
    prepared = prepare(predictions(tmp_path, ["the lungs are clear ."], {"raw": source.reports}, source, "findings"))
    assert [each.texts for each in prepared.references] == [["the lungs are <unk> ."], ["the lungs are dim ."]]
    assert prepared.generated == ["the lungs are clear ."]
    assert prepared.notes == []


def test_without_train_there_is_no_vocabulary_and_no_released_protocol(tmp_path):
    source = annotated(tmp_path, ["The lungs are dim."], [])
    prepared = prepare(predictions(tmp_path, ["x"], {"raw": source.reports}, source))
    assert [each.protocol.version for each in prepared.references] == ["full-1"]
    assert "released-1 is left out" in prepared.notes[0]


def test_several_images_of_a_study_give_a_protocol_of_studies(tmp_path):
    source = annotated(tmp_path, ["A.", "A.", "B.", "A."], ["A."] * 10, ["s", "s", "t", "s"])
    prepared = prepare(predictions(tmp_path, ["a ."] * 4, {"raw": source.reports}, source))
    study = prepared.references[2]
    assert study.protocol.name == "study-1/unstated/cleaned-mimic_cxr/coco"
    assert list(study.rows) == [0, 2]
    assert "mimic_cxr" in prepared.notes[0]
    single = annotated(tmp_path, ["A.", "B."], ["A."] * 10, ["s", "t"])
    assert len(prepare(predictions(tmp_path, ["a .", "b ."], {"raw": single.reports}, single)).references) == 2


def test_cleaned_text_does_not_change(tmp_path):
    texts = ["the lungs are <unk>", "", "heart  is\nnormal . ", "no change ."]  # the first was cut by its model
    assert as_words(texts, "iu_xray") == (["the lungs are <unk>", "", "heart is normal .", "no change ."], False)


def test_text_as_given_keeps_its_blanks_and_cleaned_text_has_single_ones(tmp_path):
    read = predictions(tmp_path, [" a  b ."], {"given": ["  a ."]})
    prepared = prepare(read)
    assert prepared.references[0].protocol.text == "as-given"
    assert (prepared.generated, list(prepared.references[0].texts)) == ([" a  b ."], ["  a ."])
    assert prepared.like_generated([" c "]) == [" c "]
    cleaned = prepare(read, dataset="iu_xray")
    assert cleaned.references[0].protocol.text == "cleaned-iu_xray"
    assert (cleaned.generated, list(cleaned.references[0].texts)) == (["a b ."], ["a ."])
    assert cleaned.like_generated([" c "]) == ["c"]


def test_rows_of_one_study_and_rules_of_another_data_set_are_noted(tmp_path):
    read = replace(predictions(tmp_path, ["a ."] * 3, {"given": ["a ."] * 3}), columns={"study_id": ["1", "1", "2"]})
    assert "the 3 reports are of 2 studies (column study_id)" in prepare(read).notes[0]
    assert prepare(replace(read, columns={"study_id": ["1", "2", "3"]})).notes == []
    source = annotated(tmp_path, ["A.", "B."], ["A."] * 10, ["s", "t"])
    read = predictions(tmp_path, ["a .", "b ."], {"raw": source.reports}, source)
    assert "looks like mimic_cxr, but the text rules of iu_xray are used" in prepare(read, dataset="iu_xray").notes[0]


def test_prose_is_cleaned_with_a_note(tmp_path):
    prepared = prepare(predictions(tmp_path, ["The lungs are clear."], {"given": ["Lungs: clear. Heart normal."]}))
    assert prepared.generated == ["the lungs are clear ."]
    assert prepared.references[0].texts == ["lungs clear . heart normal ."]
    assert prepared.references[0].protocol.name == "given-1/unstated/cleaned-iu_xray/coco"
    assert len(prepared.notes) == 2


def test_lower_case_with_glued_full_stops_is_prose():
    assert is_prose(["the lungs are clear. no change."])
    assert not is_prose(["the lungs are clear . no change .", ""])
    assert not is_prose([])
    assert not is_prose(["lungs clear ."] * 200 + ["Odd one."])  # one of many: a slip, not a way of writing


def test_cleaning_keeps_unknown_words_and_empty_reports():
    assert clean("The <unk> is clear.", "iu_xray") == "the <unk> is clear ."
    assert clean(" \n", "iu_xray") == ""


def test_the_file_of_a_run_has_both_protocols(tmp_path):
    read = predictions(tmp_path, ["a ."], {"released": ["a <unk> ."], "full": ["a b ."]}, section="findings")
    names = [each.protocol.name for each in prepare(read).references]
    assert names == ["released-1/findings/as-given/coco", "full-1/findings/as-given/coco"]
    named = [each.protocol.text for each in prepare(read, dataset="mimic_cxr").references]
    assert named == ["cleaned-mimic_cxr"] * 2


def test_references_with_unknown_words_are_released_ones(tmp_path):
    read = predictions(tmp_path, ["a ."], {"given": ["a <unk> ."]})
    assert prepare(read).references[0].protocol.version == "released-1"
    assert prepare(read, section="impression").references[0].protocol.section == "impression"


def test_an_unknown_data_set_is_named(tmp_path):
    with pytest.raises(ValueError, match="--dataset is one of iu_xray, mimic_cxr, chexpert_plus, not 'chexpert'"):
        prepare(predictions(tmp_path, ["a"], {"given": ["a"]}), dataset="chexpert")
