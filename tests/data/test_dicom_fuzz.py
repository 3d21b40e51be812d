"""Damaged DICOM files: each is read or refused in one sentence that names it, whatever is wrong."""

import io
import random

import numpy as np
import pytest

from r2cmn.data.image_errors import ImageError
from r2cmn.data.images import load_image

pydicom = pytest.importorskip("pydicom", reason="pip install 'r2cmn[dicom]'")
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402

pytestmark = pytest.mark.slow
NUM_MUTATIONS = 4000
STORED = np.arange(48, dtype=np.uint16).reshape(6, 8) * 80 + 100
WORDS = [b"\0\0", b"\xff\xff", b"\x00\x80", b"\x01\0", b"\xff\x7f", b"SQ", b"UN", b"OW", b"DS", b"\\\\", b"\xfe\xff"]


def whole_files(tmp_path, make_dicom):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", np.arange(4096, dtype="<u2").tobytes())
    window = {"WindowCenter": [2048, 5], "WindowWidth": [4096, 9], "VOILUTFunction": "SIGMOID"}
    variants = [
        {},
        {**window, "RescaleSlope": 1, "RescaleIntercept": -1024, "ViewPosition": "PA"},
        {"VOILUTSequence": Sequence([item]), "photometric": "MONOCHROME1"},
        {"ModalityLUTSequence": Sequence([item]), "PixelPaddingValue": 100, "PixelPaddingRangeLimit": 200},
    ]
    for number, tags in enumerate(variants):
        yield make_dicom(tmp_path / f"{number}.dcm", STORED, **tags).read_bytes()
    dataset = pydicom.dcmread(tmp_path / "1.dcm")
    dataset.compress(pydicom.uid.RLELossless, encoding_plugin="pydicom")
    dataset.save_as(tmp_path / "rle.dcm")
    yield (tmp_path / "rle.dcm").read_bytes()


def mutated(content, draw):
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        place = draw.randrange(132, max(133, len(changed)))
        kind = draw.randrange(5)
        if kind == 0:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place : place + 2] = draw.choice(WORDS)
        elif kind == 2:
            del changed[place : place + draw.choice((1, 2, 8))]
        elif kind == 3:
            changed[place:place] = draw.randbytes(draw.choice((1, 2, 8)))
        else:
            del changed[place:]
            changed += b"\0" * 8
    return bytes(changed)


def test_mutated_files_are_read_or_refused_in_one_sentence(tmp_path, make_dicom, capfd, caplog):
    draw = random.Random(0)
    files = list(whole_files(tmp_path, make_dicom))
    sentences = []
    for number in range(NUM_MUTATIONS):
        content = mutated(files[number % len(files)], draw)
        try:
            load_image("fuzz.dcm", io.BytesIO(content), any_modality=bool(number % 2))
        except ImageError as error:
            sentences.append(str(error))
    assert 0 < len(sentences) < NUM_MUTATIONS
    assert [sentence for sentence in sentences if "fuzz.dcm" not in sentence or "\n" in sentence] == []
    # the name of the patient, which may stand behind any damaged length
    assert [line for line in (*sentences, *capfd.readouterr(), caplog.text) if "zyxwv" in line.lower()] == []
