"""A model as a folder: what is in it, the same model back, and folders that are damaged or malicious."""

import json
import pickle
import socket
import stat
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from r2cmn.build import NotAllowedError
from r2cmn.checkpoints import CheckpointError
from r2cmn.groups import conf_dir
from r2cmn.module import CMNModule
from r2cmn.sharing.folder import CARD, CONFIG, FILES, TEXT, WEIGHTS, SharedModelError

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))


def equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours)


@pytest.fixture
def no_pickle(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickle was used")

    for owner, name in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        monkeypatch.setattr(owner, name, refuse)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


VARIED = {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 3, "no_repeat_ngram": 1}
BOTH = [*((name, "public") for name in MODELS), ("cmn", "dua"), ("hrgr", "dua"), ("coatt", "dua")]


@pytest.mark.parametrize(("name", "license_class"), BOTH)
def test_the_same_model_back(make, name, license_class, tmp_path, images, no_pickle, no_network):
    module = make(name, license_class=license_class, generation=VARIED)
    files = module.save_pretrained(tmp_path / "shared")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == sorted(FILES)
    assert [path.name for path in files] == list(FILES)
    loaded = CMNModule.from_pretrained(tmp_path / "shared")
    assert equal(module.state_dict(), loaded.state_dict())
    written = module.write(images).tokens
    assert written.unique().numel() > 3, "the reports say nothing: nothing was shown"
    assert torch.equal(loaded.write(images).tokens, written)
    assert not loaded.training
    if license_class == "public":
        assert loaded.hparams == module.hparams
    assert loaded.to_words(written) == module.to_words(written)


def test_a_tensor_with_two_names_is_stored_once_and_has_both_again(make, tmp_path):
    module = make("base")
    decoder = module.model.encoder_decoder
    decoder.output.weight = decoder.embedding.weight
    with pytest.raises(RuntimeError, match="share memory"):
        save_file(module.state_dict(), tmp_path / "refused")
    module.save_pretrained(tmp_path / "shared")
    names = set(module.state_dict()) - set(load_file(tmp_path / "shared" / WEIGHTS))
    assert names == {"model.encoder_decoder.output.weight"}
    loaded = CMNModule.from_pretrained(tmp_path / "shared")
    assert equal(module.state_dict(), loaded.state_dict())


def test_the_memory_of_both_sides_is_stored_once(make, tmp_path):
    module = make("cmn")
    module.save_pretrained(tmp_path)
    assert sum(name.endswith(".matrix") for name in load_file(tmp_path / WEIGHTS)) == 1
    loaded = CMNModule.from_pretrained(tmp_path)
    assert loaded.model.memory.visual_network is loaded.model.memory.textual_network


def test_a_folder_is_written_over(make, tmp_path):
    make("cmn").save_pretrained(tmp_path)
    other = make("base")
    other.save_pretrained(tmp_path)
    assert equal(CMNModule.from_pretrained(tmp_path).state_dict(), other.state_dict())


class Widened(torch.nn.Module):
    """A memory of one's own, whose constructor has an argument."""

    def __init__(self, size):
        super().__init__()
        self.map = torch.nn.Linear(size, size)

    def visual(self, patches):
        return self.map(patches)

    textual = visual


def from_parts(module, **parts):
    given = {name: getattr(module.model, name) for name in ("backbone", "memory", "encoder_decoder")}
    data = {key: value for key, value in module.hparams["data"].items() if "annotations" not in key}
    return CMNModule.from_parts(data=data, **{**given, **parts}).eval()


def test_a_module_of_parts_is_shared_like_any_other(make, tmp_path, images):
    module = from_parts(make("cmn"))
    module.save_pretrained(tmp_path)
    loaded = CMNModule.from_pretrained(tmp_path)
    assert equal(module.state_dict(), loaded.state_dict())
    assert torch.equal(module.write(images).tokens, loaded.write(images).tokens)


def test_a_part_without_a_description_is_named(make, tmp_path):
    module = from_parts(make("base"), memory=Widened(16))
    with pytest.raises(ValueError, match=r"cannot be shared.*Widened"):
        module.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- data use agreements ---------------------------------------------------------------------------------------------

HELD = [("hrgr", ("objective=reinforce_hrgr",)), ("coatt", ()), ("cmn", ("objective=self_critical",))]


@pytest.mark.parametrize(("name", "overrides"), HELD)
def test_under_an_agreement_only_the_owner_reads_and_text_is_in_one_file(make, name, overrides, tmp_path):
    make(name, *overrides, license_class="dua").save_pretrained(tmp_path / "shared", data="mimic_cxr")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "shared").iterdir()} == {0o600}
    for file in (CONFIG, CARD):
        assert "secret" not in (tmp_path / "shared" / file).read_text()
    assert b"secret" not in (tmp_path / "shared" / WEIGHTS).read_bytes()


@pytest.mark.parametrize(("name", "overrides"), HELD)
def test_under_an_agreement_what_only_training_needs_stays_behind(make, name, overrides, tmp_path):
    given = make(name, *overrides, license_class="dua")
    given.save_pretrained(tmp_path)
    text, config = (json.loads((tmp_path / file).read_text()) for file in (TEXT, CONFIG))
    assert "objective_annotations" not in text
    assert config["objective"] is None
    if name == "hrgr":
        assert "objective_annotations" in given.hparams["data"]
        found = [(each["count"], each["keys"]) for each in text["annotations"]["templates"]]
        assert len(found) > 2
        assert set(map(str, found)) == {"(0, [])"}
    if name == "coatt":
        assert any(given.hparams["data"]["annotations"]["of_studies"])
        assert text["annotations"]["of_studies"] == []


def test_public_text_is_in_its_own_file_and_complete(make, tmp_path):
    module = make("hrgr", "objective=reinforce_hrgr")
    module.save_pretrained(tmp_path)
    assert "secret" not in (tmp_path / CONFIG).read_text()
    assert CMNModule.from_pretrained(tmp_path).hparams == module.hparams


# ---- damaged and malicious folders -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def content(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    make("cmn").save_pretrained(folder)
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture
def folder(content, tmp_path):
    for name, value in content.items():
        (tmp_path / name).write_bytes(value)
    return tmp_path


def edit(folder, change, file=CONFIG):
    content = json.loads((folder / file).read_text())
    change(content)
    (folder / file).write_text(json.dumps(content))


def check_refused(folder, *names, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        CMNModule.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize("name", [CONFIG, TEXT, WEIGHTS])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    check_refused(folder, name)


def test_a_folder_without_a_card_is_loaded(folder):
    (folder / CARD).unlink()
    assert CMNModule.from_pretrained(folder).num_views == 2


@pytest.mark.parametrize("cut", [0, 4, 8, 100, 20_000, -1])
def test_truncated_weights_are_refused(folder, content, cut):
    (folder / WEIGHTS).write_bytes(content[WEIGHTS][:cut])
    check_refused(folder, WEIGHTS, "damaged")


@pytest.mark.parametrize("start", [(2**62).to_bytes(8, "little"), (10).to_bytes(8, "little") + b"{nojson!!}"])
def test_a_header_of_lies_is_refused(folder, content, start):
    (folder / WEIGHTS).write_bytes(start + content[WEIGHTS][len(start) :])
    check_refused(folder, WEIGHTS, "damaged")


def rewrite(folder, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def test_weights_of_another_model_are_refused(folder):
    rewrite(folder, lambda weights: weights.update(extra=weights.pop("model.memory.network.matrix")))
    check_refused(folder, "2 weights differ", "'extra'", "'model.memory.network.matrix'")


def test_weights_of_another_shape_are_refused(folder):
    edit(folder, lambda config: config["model"]["memory"].update(num_vectors=31))
    check_refused(folder, "1 weights differ", "'model.memory.network.matrix'")


def test_weights_that_are_no_numbers_are_refused(folder):
    rewrite(folder, lambda weights: weights["model.memory.network.matrix"].fill_(float("nan")))
    check_refused(folder, "NaN")


@pytest.mark.parametrize("aliases", ['{"a": "b"}', "[1]", "{", '{"a": []}'])
def test_names_of_shared_tensors_that_lie_are_refused(folder, aliases):
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"aliases": aliases})
    check_refused(folder, WEIGHTS)


@pytest.mark.parametrize("file", [CONFIG, TEXT])
@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"a": 1, "a": 2}', "[" * 100_000])
def test_json_that_is_none_is_refused(folder, file, text):
    (folder / file).write_bytes(text.encode("latin-1"))
    check_refused(folder, file)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "r2cmn.model/2"),
        ("data", None),
        ("data", {"tokenizer": "x"}),
        ("model", {}),
        ("model", [1]),
        ("model", {"backbone": {}, "memory": {}, "encoder_decoder": {}}),
        ("generation", {"_target_": "r2cmn.generation.BeamSearch", "num_beams": 10**12}),
        ("generation", "greedy"),
    ],
)
def test_a_config_of_something_else_is_refused(folder, key, value):
    edit(folder, lambda config: config.update({key: value}))
    check_refused(folder, kind=ValueError)


@pytest.mark.parametrize("part", ["model", "generation", "objective", "optimizer", "metrics", "data"])
def test_a_class_that_is_not_allowed_is_not_imported(folder, part, monkeypatch, tmp_path):
    (tmp_path / "evil_part.py").write_text("import sys\nsys.was_imported = True\nclass Part: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    evil = {"_target_": "evil_part.Part"}
    if part == "model":
        edit(folder, lambda config: config["model"].update(memory=evil))
    else:
        edit(folder, lambda config: config.update({part: {**(config[part] or {}), "x": evil, **evil}}))
    check_refused(folder, "evil_part.Part", kind=NotAllowedError)
    assert not hasattr(sys, "was_imported")


def test_a_path_of_pretrained_weights_is_refused(folder):
    edit(folder, lambda config: config["model"]["backbone"].update(pretrained="/etc/passwd"))
    check_refused(folder, "backbone")


@pytest.mark.parametrize("name", [CONFIG, TEXT, WEIGHTS])
def test_a_link_out_of_the_folder_is_not_followed(folder, name, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    elsewhere.write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(elsewhere)
    check_refused(folder, name, "link")


def test_the_cache_of_a_hub_is_a_folder_too(content, tmp_path):
    snapshot = tmp_path / "models--me--cmn" / "snapshots" / "0123"
    (tmp_path / "models--me--cmn" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, (name, value) in enumerate(content.items()):
        (snapshot.parents[1] / "blobs" / str(number)).write_bytes(value)
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert CMNModule.from_pretrained(snapshot).num_views == 2
    (tmp_path / "outside").write_bytes(content[TEXT])
    (snapshot / TEXT).unlink()
    (snapshot / TEXT).symlink_to(tmp_path / "outside")
    check_refused(snapshot, TEXT, "link")


def test_what_is_neither_a_folder_nor_a_repository_is_said(tmp_path):
    check_refused("no such folder", "no such folder", "OWNER/NAME")
    check_refused(tmp_path, CONFIG)


def test_an_interrupted_save_leaves_no_model(make, tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    make().save_pretrained(folder)
    with monkeypatch.context() as patch:
        patch.setattr("r2cmn.sharing.folder.whole_file", lambda *_: (_ for _ in ()).throw(OSError(28, "no space left")))
        with pytest.raises(OSError, match="no space"):
            make().save_pretrained(folder)
    with pytest.raises(SharedModelError, match=r"there is no file config\.json"):
        CMNModule.from_pretrained(folder)
    make().save_pretrained(folder)
    CMNModule.from_pretrained(folder)


@pytest.mark.parametrize(("name", "text"), [(CARD, "# My project"), (CONFIG, "{}"), (CONFIG, "[")])
def test_a_file_that_is_not_of_a_model_is_not_replaced(make, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{name} is not of a saved model and would be replaced"):
        make().save_pretrained(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]
