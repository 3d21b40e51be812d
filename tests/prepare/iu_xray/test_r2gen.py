import json

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.iu_xray.r2gen import read_released
from r2cmn.prepare.iu_xray.studies import read_split


def _write(path, annotation):
    path.mkdir(exist_ok=True)
    (path / "annotation.json").write_text(json.dumps(annotation))
    return path


def _annotation(mini):
    return json.loads(mini.r2gen_files()["iu_xray/annotation.json"])


def test_reports_by_id(tmp_path, mini):
    reports = read_released(_write(tmp_path, _annotation(mini)), read_split())
    assert reports == {case.id: mini.text(case) for case in mini.kept}


def test_another_split_is_refused(tmp_path, mini):
    annotation = _annotation(mini)
    annotation["test"].append(annotation["train"].pop())
    with pytest.raises(RawError, match=r"is not R2Gen's: 1 of its 5 studies are unknown or in another split, such as"):
        read_released(_write(tmp_path, annotation), read_split())


def test_a_defective_copy_is_refused(tmp_path, mini):
    annotation = _annotation(mini)
    annotation["    "] = annotation.pop("test")  # a copy like this goes round
    with pytest.raises(RawError, match="lacks a list of id and report for train, val and test"):
        read_released(_write(tmp_path, annotation), read_split())
    (tmp_path / "annotation.json").write_text('{"train"')
    with pytest.raises(RawError, match="is not valid JSON"):
        read_released(tmp_path, read_split())
    (tmp_path / "annotation.json").unlink()
    with pytest.raises(RawError, match=r"holds no annotation\.json"):
        read_released(tmp_path, read_split())
