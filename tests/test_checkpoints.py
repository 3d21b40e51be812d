import errno
import os
import pathlib
import re
import zipfile
from contextlib import suppress

import pytest
import torch

from r2cmn.checkpoints import AtomicCheckpointIO, CheckpointError, newest_intact, read_checkpoint

GOOD = {"hyper_parameters": {"model": {}}, "state_dict": {"w": torch.ones(3)}}


def test_what_is_written_is_read_back_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], torch.ones(3))
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_temporary_folder_is_not_used(tmp_path, monkeypatch):
    # the usual cluster: the temporary folder is another file system, a move from there is a copy that can be torn
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    monkeypatch.setattr("tempfile.tempdir", None)
    AtomicCheckpointIO().save_checkpoint(GOOD, tmp_path / "last.ckpt")
    assert zipfile.is_zipfile(tmp_path / "last.ckpt")


def test_a_failing_write_leaves_the_earlier_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD, path)
    before = path.read_bytes()

    def full(checkpoint, file):
        file.write(b"half")
        error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
        error.__context__ = OSError(errno.ENOSPC, "No space left on device")
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"the disk is full: .*last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint({"x": 1}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_newest_intact_passes_over_torn_and_empty_files(tmp_path):
    writer = AtomicCheckpointIO()
    for age, name in ((30, "old.ckpt"), (20, "middle.ckpt"), (10, "torn.ckpt"), (0, "empty.ckpt")):
        writer.save_checkpoint(GOOD, tmp_path / name)
        if name == "torn.ckpt":
            whole = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        if name == "empty.ckpt":
            (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    assert newest_intact(tmp_path) == tmp_path / "middle.ckpt"
    (tmp_path / "gone.ckpt").symlink_to(tmp_path / "nothing.ckpt")
    assert newest_intact(tmp_path) == tmp_path / "middle.ckpt"
    assert newest_intact(tmp_path / "none") is None


def test_a_file_with_another_checksum_is_damaged(tmp_path, caplog):
    good, bad = tmp_path / "good.ckpt", tmp_path / "bad.ckpt"
    for path in (good, bad):
        AtomicCheckpointIO().save_checkpoint(GOOD, path)
    content = bytearray(bad.read_bytes())
    content[content.index(torch.ones(3).numpy().tobytes())] ^= 1  # a weight, which torch would load
    bad.write_bytes(content)
    os.utime(good, (1, 1))
    with pytest.raises(CheckpointError, match=r"bad\.ckpt is damaged: its checksum is wrong"):
        read_checkpoint(bad)
    assert newest_intact(tmp_path) == good
    assert "bad.ckpt is damaged" in caplog.text


def flips(whole):
    """Yield a file with one flipped bit, at 15 places and in its last bytes, and with a zeroed block."""
    for place in (*(len(whole) * number // 15 for number in range(15)), *range(len(whole) - 150, len(whole))):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        yield bytes(content)
    yield whole[: len(whole) // 3] + bytes(512) + whole[len(whole) // 3 + 512 :]


def test_no_flipped_bit_of_a_checkpoint_is_loaded(tmp_path):
    path = tmp_path / "own.ckpt"
    AtomicCheckpointIO().save_checkpoint(GOOD | {"more": torch.randn(500)}, path)
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=re.escape(str(path))):
            read_checkpoint(path)


def test_a_flipped_bit_of_a_file_without_our_checksum_changes_no_value(tmp_path):
    path, expected, loaded = tmp_path / "plain.ckpt", torch.randn(500), []
    torch.save(GOOD | {"more": expected}, path)
    for content in flips(path.read_bytes()):
        path.write_bytes(content)
        with suppress(CheckpointError):
            loaded.append(read_checkpoint(path)["more"])  # the flip is in a date or another value that nobody reads
    assert len(loaded) < 165
    assert all(torch.equal(found, expected) for found in loaded)


def test_a_member_that_the_directory_calls_a_folder_is_damaged(tmp_path):
    torch.save(GOOD, tmp_path / "x.ckpt")
    content = bytearray((tmp_path / "x.ckpt").read_bytes())
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"/data/0"))
    content[entry + 38] |= 0x10  # torch would read zeros
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match="its directory is not as torch"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, value, caplog):
    weights = {"a": torch.ones(2), "b": torch.tensor([1, value, value]), "c": torch.tensor([value]).half()}
    for name, state in (("old", GOOD["state_dict"]), ("new", weights)):
        AtomicCheckpointIO().save_checkpoint({**GOOD, "state_dict": state}, tmp_path / f"{name}.ckpt")
        os.utime(tmp_path / f"{name}.ckpt", (1e9 + len(state),) * 2)
    with pytest.raises(
        CheckpointError, match=r"new\.ckpt: 2 of 3 values of 'b' are NaN or infinite, .* 1 more"
    ) as caught:
        read_checkpoint(tmp_path / "new.ckpt")
    assert newest_intact(tmp_path) == tmp_path / "old.ckpt"
    assert caplog.text.count(str(caught.value)) == 1


def test_moments_that_are_no_numbers_are_named_and_a_mask_is_none(tmp_path):
    mask = torch.tensor([[0.0, -float("inf")], [0.0, 0.0]])
    AtomicCheckpointIO().save_checkpoint({**GOOD, "state_dict": {"mask": mask}}, tmp_path / "x.ckpt")
    read_checkpoint(tmp_path / "x.ckpt")
    moments = {"state": {3: {"step": torch.tensor(1.0), "exp_avg": torch.tensor([float("nan")])}}, "param_groups": []}
    AtomicCheckpointIO().save_checkpoint({**GOOD, "optimizer_states": [moments]}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"'optimizer_states\.0\.state\.3\.exp_avg'"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("key", ["num_views", "resize", "size"])
def test_image_sizes_are_whole_numbers(tmp_path, key):
    images = {"num_views": 2, "resize": 256, "size": 224}
    data = {"tokenizer": {"words": ["a"], "max_length": 60}, "images": images, "license_class": "public"}
    content = {**GOOD, "hyper_parameters": {"model": {}, "data": data}, "pytorch-lightning_version": "2.6.0"}
    torch.save(content, tmp_path / "good.ckpt")
    read_checkpoint(tmp_path / "good.ckpt", complete=True)
    images[key] = "224"
    torch.save(content, tmp_path / "bad.ckpt")
    with pytest.raises(CheckpointError, match=rf"bad\.ckpt: 'hyper_parameters\.data\.images\.{key}'"):
        read_checkpoint(tmp_path / "bad.ckpt", complete=True)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (pathlib.Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "torn", "code", "released", "other", "list"])
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path, kind):
    path, witness = tmp_path / "x.ckpt", tmp_path / "ran"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello")
    elif kind != "missing":
        content = {
            "torn": GOOD,
            "code": {**GOOD, "evil": Evil(witness)},
            "released": {"state_dict": {}, "monitor_best": 0.1, "epoch": 3},
            "other": {"state_dict": {}, "hyper_parameters": {"lr": 1}},
            "list": [1, 2],
        }[kind]
        torch.save(content, path)
        if kind == "torn":
            path.write_bytes(path.read_bytes()[:-200])
    sentence = {
        "missing": "there is no checkpoint", "empty": "is empty", "text": "not a whole torch file",
        "torn": "not a whole",
        "code": "more than plain data", "released": "released R2Gen family", "other": "not a checkpoint of r2cmn",
        "list": "not a checkpoint of r2cmn",
    }[kind]  # fmt: skip
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not witness.exists()


# ---- loading and removing --------------------------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path):
    """A writer that has written one checkpoint to run/checkpoints."""
    writer = AtomicCheckpointIO()
    writer.save_checkpoint(GOOD, tmp_path / "run" / "checkpoints" / "a.ckpt")
    return writer


def test_only_files_of_its_own_folder_are_removed(writer, tmp_path):
    own = tmp_path / "run" / "checkpoints"
    writer.remove_checkpoint(own / "a.ckpt")
    assert list(own.iterdir()) == []
    writer.remove_checkpoint(own / "a.ckpt")  # it is gone already


@pytest.mark.parametrize(
    "form", ["local://{0}", "file://{0}/thesis.ckpt", "{0}", "{0}/thesis.ckpt", "{1}/../../victim", "{1}/link.ckpt",
             "{1}/../../victim/thesis.ckpt", "{1}/folder.ckpt", "{1}/notes.txt", "{1}", "simplecache::{1}/a.ckpt"]
)  # fmt: skip
def test_nothing_else_is_removed(writer, tmp_path, form):
    own, victim = tmp_path / "run" / "checkpoints", tmp_path / "victim"
    victim.mkdir()
    (own / "folder.ckpt").mkdir()
    for file in (victim / "thesis.ckpt", own / "notes.txt", own / "folder.ckpt" / "thesis.ckpt"):
        file.write_text("thesis")
    (own / "link.ckpt").symlink_to(victim / "thesis.ckpt")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="is not removed"):
        writer.remove_checkpoint(form.format(victim, own))
    assert sorted(tmp_path.rglob("*")) == before


def test_it_loads_no_url_and_no_code(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        AtomicCheckpointIO().load_checkpoint("https://example.com/best-epoch001.ckpt")
    torch.save({**GOOD, "evil": Evil(tmp_path / "ran")}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="more than plain data"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    assert not (tmp_path / "ran").exists()
