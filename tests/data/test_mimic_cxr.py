import json

import pytest

from r2cmn.data.mimic_cxr import MIMICCXRDataModule
from r2cmn.data.reports import DataError


def test_defaults_are_those_of_the_paper(make_dataset, tmp_path):
    path = make_dataset(tmp_path / "d", num_studies=60, num_views=1, size=8)
    content = json.loads((path / "annotation.json").read_text())
    for number, entry in enumerate(content["train"][:10]):
        entry["report"] += " Tenfold." if number == 9 else " Tenfold ninefold."
    (path / "annotation.json").write_text(json.dumps(content))
    data = MIMICCXRDataModule(path)
    description = data.describe()
    assert description["images"]["num_views"] == 1
    assert description["tokenizer"]["max_length"] == 100
    assert description["tokenizer"]["cleaning"] == "mimic_cxr"
    assert description["license_class"] == "dua"
    assert "tenfold" in data.tokenizer.words
    assert "ninefold" not in data.tokenizer.words


def test_the_folder_has_no_default(monkeypatch):
    monkeypatch.setenv("R2CMN_DATA", "elsewhere")  # names IU X-Ray, never MIMIC-CXR
    with pytest.raises(DataError, match=r"no data folder is given: set data\.dir="):
        MIMICCXRDataModule()
