import gzip
import io
import tarfile
import zipfile

import pytest

from r2cmn.prepare import archives
from r2cmn.prepare.archives import RawError, is_archive, raw_files

FILES = {"ecgen-radiology/1.xml": b"<a/>" * 500, "ecgen-radiology/2.xml": b"", "z.png": bytes(range(256)) * 40}


def _folder(path):
    for name, content in FILES.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (path / ".DS_Store").write_bytes(b"no data")
    return path


def _tar(path, mode="w:gz", members=None):
    with tarfile.open(path, mode) as archive:
        for name, content in (members or FILES).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in () if members else ("ecgen-radiology/._1.xml",):
            archive.addfile(tarfile.TarInfo(name))
    return path


def _zip(path, members=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members or FILES).items():
            archive.writestr(name, content)
        if not members:
            archive.writestr("__MACOSX/._z.png", b"no data")
    return path


def _read_all(path):
    return {file.name: file.read() for file in raw_files(path)}


MAKERS = {"folder": _folder, "tgz": _tar, "tar": lambda path: _tar(path, "w"), "zip": _zip}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_folder_and_its_archives_hold_the_same_files(tmp_path, kind):
    path = MAKERS[kind](tmp_path / "without_suffix")
    assert _read_all(path) == FILES
    assert all((file.path is not None) == (kind == "folder") for file in raw_files(path))
    assert is_archive(path) == (kind != "folder")


@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_an_archive_cut_anywhere_is_refused(tmp_path, kind):
    whole = MAKERS[kind](tmp_path / "whole").read_bytes()
    cut = tmp_path / f"cut.{kind}"
    for length in [*range(1, len(whole) - 1, max(1, len(whole) // 60)), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(RawError, match=r"cut\.\w+ (is cut short or damaged|is neither)") as caught:
            _read_all(cut)
        assert "\n" not in str(caught.value)


def test_a_flipped_byte_is_found(tmp_path):
    path = _tar(tmp_path / "a.tgz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum
    path.write_bytes(content)
    with pytest.raises(RawError, match=r"a\.tgz is cut short or damaged"):
        list(raw_files(path))


@pytest.mark.parametrize("name", ["../out.xml", "/etc/passwd", "a/../../b", "..\\b", "C:\\b", "\\b"])
@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_names_that_lead_out_are_refused(tmp_path, kind, name):
    path = {"tgz": _tar, "zip": _zip}[kind](tmp_path / "a", members={name: b"x"})
    with pytest.raises(RawError, match="a name that leads out of its folder"):
        list(raw_files(path))


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        path = tmp_path / "a.tgz"
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("1.xml")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        with pytest.raises(RawError, match=r"holds the link or device '1\.xml'"):
            list(raw_files(path))
    link = zipfile.ZipInfo("1.xml")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(RawError, match=r"holds the link '1\.xml'"):
        list(raw_files(tmp_path / "a.zip"))


@pytest.mark.parametrize("kind", MAKERS)
def test_files_too_large_for_a_picture_are_refused(tmp_path, monkeypatch, kind):
    path = MAKERS[kind](tmp_path / "a")
    monkeypatch.setattr(archives, "MAX_FILE", 5_000)
    with pytest.raises(RawError, match=r"'z\.png' has 10,240 bytes, more than"):
        _read_all(path)


def test_what_is_no_archive_is_named(tmp_path):
    path = tmp_path / "a.tgz"
    for content, sentence in [
        (b"", "is empty"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"hello", "is neither a tar nor a zip"),
        (gzip.compress(b"hello" * 500, mtime=0), "is cut short or damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(RawError, match=f"a.tgz {sentence}"):
            list(raw_files(path))
    with pytest.raises(RawError, match="there is no file or folder"):
        list(raw_files(tmp_path / "none"))


def test_an_encrypted_zip_is_one_sentence(tmp_path):
    path = _zip(tmp_path / "a.zip", {"1.xml": b"x"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(RawError, match=r"a\.zip cannot be read: .*encrypted"):
        _read_all(path)
