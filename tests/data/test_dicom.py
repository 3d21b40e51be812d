import io
import math
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from r2cmn.data import dicom, image_errors
from r2cmn.data.dicom import read_dicom
from r2cmn.data.image_errors import ImageError
from r2cmn.data.images import load_image

pydicom = pytest.importorskip("pydicom", reason="pip install 'r2cmn[dicom]'")
from pydicom.dataset import Dataset  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import JPEG2000, ExplicitVRBigEndian, JPEGBaseline8Bit, RLELossless  # noqa: E402

GRADIENT = np.arange(48, dtype=np.uint16).reshape(6, 8) * 80 + 100  # 100 to 3,860: 12 bits


def pixels(path, **options):
    return np.asarray(read_dicom(path, **options).image)


def eight_bits(shares):
    """The oracle of the last step, one value after the other."""
    return [[round(min(max(share, 0.0), 1.0) * 255) for share in row] for row in shares]


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.uint16), (16, np.int16)])
def test_without_a_window_the_lowest_and_highest_value_are_black_and_white(tmp_path, make_dicom, bits, dtype):
    stored = (np.arange(12).reshape(3, 4) * (2 ** (bits - 5)) + 3).astype(dtype) - dtype(3 if dtype == np.int16 else 0)
    low, high = int(stored.min()), int(stored.max())
    expected = eight_bits([[(int(v) - low) / (high - low) for v in row] for row in stored])
    assert pixels(make_dicom(tmp_path / "a.dcm", stored, bits)).tolist() == expected


def test_monochrome1_is_inverted(tmp_path, make_dicom):
    plain = make_dicom(tmp_path / "a.dcm", GRADIENT)
    turned = make_dicom(tmp_path / "b.dcm", GRADIENT, photometric="MONOCHROME1")
    assert np.array_equal(pixels(turned)[::-1, ::-1], pixels(plain))
    assert "invert" in read_dicom(turned).steps
    assert "invert" not in read_dicom(plain).steps


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_rescale_and_window_follow_the_standard(tmp_path, make_dicom, function, slope):
    center, width, intercept = 2000.0 * np.sign(slope), 3000.0, 7.0
    tags = {"RescaleSlope": slope, "RescaleIntercept": intercept, "WindowCenter": center, "WindowWidth": width}
    path = make_dicom(tmp_path / "a.dcm", GRADIENT, **tags, **({"VOILUTFunction": function} if function else {}))
    shares = []
    for row in GRADIENT.tolist():
        shares.append([])
        for value in row:
            x = value * slope + intercept
            if function == "SIGMOID":
                y = 1 / (1 + math.exp(-4 * (x - center) / width))
            elif function == "LINEAR_EXACT":
                y = (x - center) / width + 0.5
            else:
                y = (x - (center - 0.5)) / (width - 1) + 0.5
            shares[-1].append(y)
    assert pixels(path).tolist() == eight_bits(shares)
    if slope > 0:  # pydicom itself, where its range of output is a range
        header = pydicom.dcmread(path)
        theirs = pydicom.pixels.apply_windowing(pydicom.pixels.apply_modality_lut(header.pixel_array, header), header)
        low, high = intercept, 4095 * slope + intercept
        assert np.array_equal(np.round((theirs - low) / (high - low) * 255), pixels(path))
    assert read_dicom(path).steps == (f"rescale {slope:g} 7", f"window {center:g} 3000", "8 bits")


def test_the_first_of_several_windows_is_used(tmp_path, make_dicom):
    one = make_dicom(tmp_path / "a.dcm", GRADIENT, WindowCenter=1000, WindowWidth=500)
    several = make_dicom(tmp_path / "b.dcm", GRADIENT, WindowCenter=[1000, 9], WindowWidth=[500, 9])
    assert np.array_equal(pixels(one), pixels(several))


def _table(entries, first, bits, number=None, dtype="<u2", vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", vr, [number or len(entries), first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, dtype=dtype).tobytes())
    return Sequence([item])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_voi_lut_has_precedence_over_a_window(tmp_path, make_dicom, bits):
    first, number = 200, 3000
    entries = [round((position / (number - 1)) ** 2 * (2**bits - 1)) for position in range(number)]
    path = make_dicom(tmp_path / "a.dcm", GRADIENT, VOILUTSequence=_table(entries, first, bits),
                      WindowCenter=1, WindowWidth=2)  # fmt: skip
    shares = [[entries[min(max(value - first, 0), number - 1)] / (2**bits - 1) for value in row]
              for row in GRADIENT.tolist()]  # fmt: skip
    assert pixels(path).tolist() == eight_bits(shares)
    assert read_dicom(path).steps == ("VOI LUT", "8 bits")


def test_a_modality_lut_is_applied(tmp_path, make_dicom):
    entries = [4095 - value for value in range(4096)]
    path = make_dicom(tmp_path / "a.dcm", GRADIENT, ModalityLUTSequence=_table(entries, 0, 16))
    assert np.array_equal(pixels(path)[::-1, ::-1], pixels(make_dicom(tmp_path / "b.dcm", GRADIENT)))
    assert read_dicom(path).steps[0] == "modality LUT"


def test_a_modality_lut_may_have_twelve_bits(tmp_path, make_dicom):
    entries = [4095 - value for value in range(4096)]
    one, other = (make_dicom(tmp_path / f"{bits}.dcm", GRADIENT, ModalityLUTSequence=_table(entries, 0, bits))
                  for bits in (12, 16))  # fmt: skip
    assert np.array_equal(pixels(one), pixels(other))


def test_eight_bit_entries_may_be_packed_and_the_descriptor_gives_the_width(tmp_path, make_dicom):
    entries = [round(255 * position / 4095) for position in range(4096)]
    wide = make_dicom(tmp_path / "a.dcm", GRADIENT, VOILUTSequence=_table(entries, 0, 8))
    packed = make_dicom(tmp_path / "b.dcm", GRADIENT, VOILUTSequence=_table(entries, 0, 8, dtype="u1"))
    assert np.array_equal(pixels(wide), pixels(packed))
    short = _table(range(4095), 0, 12, number=4096)  # twelve bits are never packed
    with pytest.raises(ImageError, match="VOILUTSequence has 4095 of 4096 entries"):
        read_dicom(make_dicom(tmp_path / "c.dcm", GRADIENT, VOILUTSequence=short))


@pytest.mark.parametrize(("first", "vr"), [(-1000, "SS"), (2**16 - 1000, "US")])
def test_the_first_value_of_a_table_may_be_signed_or_not(tmp_path, make_dicom, first, vr):
    table = _table(range(5000), first, 16, vr=vr)
    path = make_dicom(tmp_path / "a.dcm", GRADIENT, RescaleSlope=1, RescaleIntercept=-1000, VOILUTSequence=table)
    assert pixels(path).tolist() == eight_bits([[v / 4999 for v in row] for row in GRADIENT.tolist()])


@pytest.mark.parametrize(("first", "vr"), [(-2000, "SS"), (2**16 - 2000, "US")])
@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_tables_of_signed_values(tmp_path, make_dicom, first, vr, sequence):
    entries = [round((position / 4095) ** 2 * 65_535) for position in range(4096)]
    tags = {sequence: _table(entries, first, 16, vr=vr), "WindowCenter": 32768, "WindowWidth": 65536}
    path = make_dicom(tmp_path / "a.dcm", GRADIENT.astype(np.int16) - 2000, 16, **tags)
    shares = [[entries[v] / 65_535 for v in row] for row in GRADIENT.tolist()]
    assert np.abs(pixels(path).astype(int) - eight_bits(shares)).max() <= (1 if "Modality" in sequence else 0)


def test_a_table_may_be_big_endian_but_has_to_meet_the_values(tmp_path, make_dicom):
    entries = [position**2 // 256 for position in range(4096)]
    little = make_dicom(tmp_path / "a.dcm", GRADIENT, VOILUTSequence=_table(entries, 0, 16))
    big = make_dicom(tmp_path / "b.dcm", GRADIENT.astype(">u2"), syntax=ExplicitVRBigEndian,
                     VOILUTSequence=_table(entries, 0, 16, dtype=">u2"))  # fmt: skip
    assert np.array_equal(pixels(little), pixels(big))
    with pytest.raises(ImageError, match="VOILUTSequence has entries for none of the values, 100 to 3860"):
        read_dicom(make_dicom(tmp_path / "c.dcm", GRADIENT, VOILUTSequence=_table(entries, 5000, 16)))


def test_padding_may_be_written_signed_or_not(tmp_path, make_dicom):
    stored = GRADIENT.astype(np.int16) - 2000
    stored[0] = -30_000
    for number, value in enumerate((-30_000, 2**16 - 30_000)):
        path = make_dicom(tmp_path / f"{number}.dcm", stored, 16)
        dataset = pydicom.dcmread(path)
        dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
        dataset.save_as(path)
        assert not pixels(path)[0].any()
        assert pixels(path)[1, 0] == 0
        assert pixels(path)[5, 7] == 255


def test_bits_of_an_overlay_are_cleared(tmp_path, make_dicom):
    marked = GRADIENT | np.uint16(0x8000)
    with pytest.raises(ImageError, match="BitsStored, 12"):
        read_dicom(make_dicom(tmp_path / "a.dcm", marked))
    path = make_dicom(tmp_path / "b.dcm", marked)
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x60020102, "US", 15)
    dataset.save_as(path)
    assert np.array_equal(pixels(path), pixels(make_dicom(tmp_path / "c.dcm", GRADIENT)))


@pytest.mark.parametrize("extended", [True, False])
def test_the_sign_of_twelve_bits_may_fill_the_unused_ones(tmp_path, make_dicom, extended):
    stored = GRADIENT.astype(np.int16) - 2000
    plain = make_dicom(tmp_path / "a.dcm", stored, 16)
    path = make_dicom(tmp_path / "b.dcm", stored if extended else stored & 0xFFF, 12)
    assert np.array_equal(pixels(path), pixels(plain))


_EMPTY = Dataset()
_EMPTY.add_new("LUTDescriptor", "SS", None)
_EMPTY.add_new("LUTData", "OW", None)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": 1, "RescaleIntercept": None},
        {"RescaleSlope": [1, 1], "RescaleIntercept": [0, 0]},
        {"VOILUTSequence": Sequence([_EMPTY])},
        {"VOILUTSequence": Sequence([])},
        {"ModalityLUTSequence": Sequence([_EMPTY])},
        {"PixelPaddingValue": None, "NumberOfFrames": None, "ViewPosition": None, "VOILUTFunction": ""},
        {"Modality": "DR"},
        {"Modality": ["DX", "CR"]},
    ],
)
def test_empty_and_repeated_tags_are_as_if_they_were_not_there(tmp_path, make_dicom, tags):
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    plain = make_dicom(tmp_path / "a.dcm", GRADIENT, **window)
    assert np.array_equal(pixels(make_dicom(tmp_path / "b.dcm", GRADIENT, **window, **tags)), pixels(plain))


@pytest.mark.parametrize("width", [0, -5, 0.5])
def test_a_window_without_width_is_left_out_and_named(tmp_path, make_dicom, width):
    path = make_dicom(tmp_path / "a.dcm", GRADIENT, WindowCenter=5, WindowWidth=width)
    assert np.array_equal(pixels(path), pixels(make_dicom(tmp_path / "b.dcm", GRADIENT)))
    assert read_dicom(path).steps[0] == f"lowest to highest value (a window of width {width:g} is not valid)"


def test_another_modality_or_none_is_read_if_asked(tmp_path, make_dicom):
    plain = pixels(make_dicom(tmp_path / "a.dcm", GRADIENT))
    for modality in ("CT", "", None):
        path = make_dicom(tmp_path / "b.dcm", GRADIENT, Modality=modality)
        assert np.array_equal(pixels(path, any_modality=True), plain)


@pytest.mark.parametrize(
    "error", [TypeError("a\nb"), KeyError("x"), RecursionError(), MemoryError(), struct.error("s")]
)
@pytest.mark.parametrize("step", ["_check", "rendered", "_read_tags"])
def test_whatever_goes_wrong_inside_is_one_sentence(tmp_path, make_dicom, monkeypatch, error, step):
    def broken(*args):
        raise error

    monkeypatch.setattr(dicom, step, broken)
    with pytest.raises(ImageError, match=r"a\.dcm") as caught:
        read_dicom(make_dicom(tmp_path / "a.dcm", GRADIENT))
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(": ")


def test_percentiles_clip_the_brightest_and_darkest_pixels(tmp_path, make_dicom):
    stored = np.full((10, 10), 1000, dtype=np.uint16)
    stored[:, 5:] = 2000
    stored[0, 0], stored[9, 9] = 0, 4095  # a marker of lead, and a hole
    path = make_dicom(tmp_path / "a.dcm", stored)
    assert set(np.unique(pixels(path))) == {0, 62, 125, 255}
    assert set(np.unique(pixels(path, clip=(2, 98)))) == {0, 255}
    assert "clip 2 98" in read_dicom(path, clip=(2, 98)).steps
    for impossible in [(50, 50), (-1, 99), (1, 101)]:
        with pytest.raises(ValueError, match="two percentiles"):
            read_dicom(path, clip=impossible)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_ignored_by_the_range(tmp_path, make_dicom, photometric):
    stored = GRADIENT.copy()
    stored[0] = 4095
    stored[5] = 4000
    path = make_dicom(tmp_path / "a.dcm", stored, photometric=photometric, PixelPaddingValue=4095,
                      PixelPaddingRangeLimit=4000)  # fmt: skip
    image = pixels(path)
    assert not image[[0, 5]].any()
    assert {int(image[1:5].min()), int(image[1:5].max())} == {0, 255}


def test_a_constant_image_is_black(tmp_path, make_dicom):
    assert not pixels(make_dicom(tmp_path / "a.dcm", np.full((3, 3), 9, dtype=np.uint16))).any()


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"Modality": "CT"}, "is of modality 'CT', not a radiograph"),
        ({"Modality": ""}, "names no modality.*--any-modality"),
        ({"NumberOfFrames": 2}, "has 2 frames"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "holds colors"),
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"BitsStored": 10, "HighBit": 9}, "more bits than its BitsStored, 10"),
        ({"HighBit": 15}, "12 bits a pixel and HighBit 15, not 11"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "function CUBIC is unknown"),
    ],
)
def test_a_file_without_a_single_radiograph_raises(tmp_path, make_dicom, tags, sentence):
    path = make_dicom(tmp_path / "a.dcm", np.stack([GRADIENT] * 2) if "NumberOfFrames" in tags else GRADIENT, **tags)
    with pytest.raises(ImageError, match=sentence) as caught:
        read_dicom(path)
    assert "\n" not in str(caught.value)
    assert "Zyxwv" not in str(caught.value)


def test_truncated_files_raise_one_line_wherever_they_end(tmp_path, make_dicom):
    whole = make_dicom(tmp_path / "a.dcm", GRADIENT).read_bytes()
    for length in range(0, len(whole) - 1, 7):
        torn = tmp_path / "torn.dcm"
        torn.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"torn\.dcm") as caught:
            read_dicom(torn)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_too_many_pixels(tmp_path, make_dicom, monkeypatch):
    with pytest.raises(ImageError, match="there is no image at"):
        load_image(tmp_path / "none.dcm")
    path = make_dicom(tmp_path / "a.dcm", GRADIENT)
    bomb = make_dicom(tmp_path / "b.dcm", GRADIENT, Rows=65_535, Columns=65_535)
    with pytest.raises(ImageError, match="more than 100,000,000"):
        load_image(bomb)
    monkeypatch.setattr(image_errors, "MAX_PIXELS", 47)
    with pytest.raises(ImageError, match="8 x 6 pixels, more than 47"):
        read_dicom(path)


def test_missing_pydicom_is_named(tmp_path, make_dicom, monkeypatch):
    path = make_dicom(tmp_path / "a.dcm", GRADIENT)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"pip install 'r2cmn\[dicom\]'"):
        load_image(path)


def test_no_tag_of_the_patient_is_read_or_printed(tmp_path, make_dicom, capfd):
    path = make_dicom(tmp_path / "a.dcm", GRADIENT, ViewPosition="PA", WindowCenter=2000,
                      WindowWidth=10)  # fmt: skip
    radiograph = read_dicom(path)
    assert radiograph.view == "PA"
    assert "Zyxwv" not in repr(radiograph)
    assert radiograph.image.info == {}
    header = dicom._read_tags(path, None)
    assert not [element for element in header if element.tag.group == 0x10]
    assert capfd.readouterr() == ("", "")


def test_compressed_files_are_read_or_the_decoder_is_named(tmp_path, make_dicom, monkeypatch):
    values = (GRADIENT // 16).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "jpeg", quality=95)
    jpeg = make_dicom(tmp_path / "a.dcm", values, 8, syntax=JPEGBaseline8Bit, data=buffer.getvalue())
    expected = np.asarray(Image.open(buffer)).astype(float)
    expected = np.round((expected - expected.min()) / (expected.max() - expected.min()) * 255)
    assert np.abs(pixels(jpeg) - expected).max() <= 1  # decoders of JPEG may differ by one
    dataset = pydicom.dcmread(make_dicom(tmp_path / "b.dcm", GRADIENT))
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    dataset.save_as(tmp_path / "rle.dcm")
    assert np.array_equal(pixels(tmp_path / "rle.dcm"), pixels(tmp_path / "b.dcm"))
    j2k = make_dicom(tmp_path / "c.dcm", values, 8, syntax=JPEG2000, data=b"\0" * 16)
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder._validate_plugins", _no_plugin)
    with pytest.raises(ImageError, match=r"is compressed \(JPEG 2000.*\): pip install pylibjpeg pylibjpeg-openjpeg"):
        read_dicom(j2k)


@pytest.mark.parametrize("name", ["implicit", "bigendian", "RLE", "jp2klossless", "jpeg_ls_lossless"])
def test_every_lossless_syntax_gives_the_same_image(tmp_path, make_dicom, name):
    def as_radiograph(source):
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file(source))
        dataset.Modality = "DX"
        dataset.save_as(tmp_path / source)
        return tmp_path / source

    path = as_radiograph(f"MR_small_{name}.dcm")
    syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    if syntax.is_compressed and not pydicom.pixels.get_decoder(syntax).is_available:
        pytest.skip(f"no decoder of {syntax.name} is installed")
    assert np.array_equal(pixels(path), pixels(as_radiograph("MR_small.dcm")))


def _no_plugin(self, plugin=""):
    raise RuntimeError(f"Unable to decompress '{self.UID.name}' because all plugins are missing dependencies:\n\tgdcm")


def test_images_are_recognized_by_suffix_or_by_marker(tmp_path, make_dicom):
    path = make_dicom(tmp_path / "a.dcm", GRADIENT)
    unnamed = tmp_path / "unnamed"
    unnamed.write_bytes(path.read_bytes())
    image = load_image(path)
    assert image.mode == "RGB"
    assert image.size == (8, 6)
    assert load_image(unnamed) == image
    assert load_image("in memory", io.BytesIO(path.read_bytes())) == image
    other = tmp_path / "b.dcm"
    other.write_bytes(b"\0" * 300)
    with pytest.raises(ImageError, match="lacks the marker DICM"):
        load_image(other)
