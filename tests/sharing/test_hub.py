"""Push to and download from a stand-in for the hub on the loopback interface, and the rules of the license classes."""

import importlib.util
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from r2cmn.module import CMNModule
from r2cmn.sharing.folder import CARD, FILES, SharedModelError
from r2cmn.sharing.hub import HubError, find_folder, push

_SPEC = importlib.util.spec_from_file_location("hub_stand_in", Path(__file__).with_name("hub.py"))
stand_in = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stand_in)

TOKEN = "hf_nobody"


def use(monkeypatch, address):
    """Let the client call this address alone, as with HF_ENDPOINT."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with stand_in.serve() as hub:
        use(monkeypatch, hub.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield hub


def test_the_same_model_back_from_a_hub(make, hub, images):
    module = make("cmn")
    address = module.push_to_hub("me/cmn", data="drawn phantoms", token=TOKEN)
    assert address.startswith(f"{hub.address}/me/cmn/commit/")
    assert sorted(hub.repositories["me/cmn"].files) == sorted(FILES)
    assert "Trained on drawn phantoms." in hub.repositories["me/cmn"].files[CARD].decode()
    loaded = CMNModule.from_pretrained("me/cmn")
    assert loaded.hparams == module.hparams
    assert all(torch.equal(ours, loaded.state_dict()[name]) for name, ours in module.state_dict().items())
    assert torch.equal(loaded.write(images).tokens, module.write(images).tokens)
    missed = {path for method, path in hub.unknown}
    assert missed <= {"/api/agent-harnesses"}, f"the client calls routes that the stand-in lacks: {missed}"


def test_the_weights_travel_as_a_large_file(make, hub):
    make("cmn").push_to_hub("me/cmn", token=TOKEN)
    assert sorted(hub.repositories["me/cmn"].commits[0]) == ["file", "file", "file", "header", "lfsFile"]
    assert len(hub.objects) == 1


def test_nothing_else_in_a_repository_is_downloaded(make, hub):
    make("cmn").push_to_hub("me/cmn", token=TOKEN)
    hub.repositories["me/cmn"].files |= {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit"}
    folder = find_folder("me/cmn")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert not any("modeling" in path or ".bin" in path for _, path in hub.requests)


def test_a_folder_is_pushed_as_it_is(make, hub, tmp_path):
    make("cmn").save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / CARD).write_text("# My own words")
    (tmp_path / "mine" / "notes.txt").write_text("private")
    push(tmp_path / "mine", "me/cmn", token=TOKEN)
    assert hub.repositories["me/cmn"].files[CARD] == b"# My own words"
    assert "notes.txt" not in hub.repositories["me/cmn"].files


def test_a_second_push_changes_the_repository(make, hub):
    make("cmn").push_to_hub("me/model", token=TOKEN)
    other = make("base")
    other.push_to_hub("me/model", token=TOKEN)
    assert type(CMNModule.from_pretrained("me/model").model.memory).__name__ == "NoMemory"


# ---- license classes -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["module", "folder"])
def restricted(request, make, tmp_path):
    """A model under a data use agreement, as a module and as a folder."""
    module = make("cmn", license_class="dua")
    if request.param == "module":
        return module
    module.save_pretrained(tmp_path / "restricted", data="mimic_cxr")
    return tmp_path / "restricted"


def test_under_an_agreement_nothing_is_pushed_without_permission(restricted, hub):
    with pytest.raises(ValueError, match="i_have_permission=True"):
        push(restricted, "me/cmn", private=True, token=TOKEN)
    assert hub.requests == []


def test_under_an_agreement_a_public_repository_is_refused(restricted, hub):
    with pytest.raises(ValueError, match="private"):
        push(restricted, "me/cmn", private=False, i_have_permission=True, token=TOKEN)
    assert hub.requests == []


def test_under_an_agreement_an_existing_public_repository_stays_as_it_is(make, restricted, hub):
    make("base").push_to_hub("me/cmn", token=TOKEN)
    before = dict(hub.repositories["me/cmn"].files)
    with pytest.raises(HubError, match="me/cmn is public"):
        push(restricted, "me/cmn", i_have_permission=True, token=TOKEN)
    assert hub.repositories["me/cmn"].files == before


def test_under_an_agreement_the_repository_is_private(restricted, hub):
    push(restricted, "me/cmn", i_have_permission=True, token=TOKEN)
    assert hub.repositories["me/cmn"].private
    assert sorted(hub.repositories["me/cmn"].files) == sorted(FILES)


def test_an_unknown_license_class_counts_as_an_agreement(make, hub, tmp_path):
    make("cmn").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"public"', '"none of your business"'))
    with pytest.raises(ValueError, match="i_have_permission"):
        push(tmp_path, "me/cmn", token=TOKEN)


@pytest.mark.parametrize("private", [None, True])
def test_a_public_model_is_private_only_if_asked(make, hub, private):
    make("cmn").push_to_hub("me/cmn", private=private, token=TOKEN)
    assert hub.repositories["me/cmn"].private == bool(private)


# ---- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cmn", "a/b/c", "a b/c", "", "../x/y"])
def test_a_name_that_is_no_repository_is_refused(make, hub, name):
    with pytest.raises(ValueError, match="OWNER/NAME"):
        make("cmn").push_to_hub(name, token=TOKEN)
    with pytest.raises(SharedModelError):
        CMNModule.from_pretrained(name or "none")
    assert hub.requests == []


def test_a_repository_that_does_not_exist_is_named(hub):
    with pytest.raises(HubError, match="me/none: RepositoryNotFoundError"):
        CMNModule.from_pretrained("me/none")


def test_a_repository_without_a_model_is_named(hub):
    hub.repositories["me/other"] = stand_in.Repository(private=False)
    hub.repositories["me/other"].files["README.md"] = b"nothing"
    with pytest.raises(SharedModelError, match=r"config\.json"):
        CMNModule.from_pretrained("me/other")


def test_a_damaged_repository_is_refused(make, hub):
    make("cmn").push_to_hub("me/cmn", token=TOKEN)
    files = hub.repositories["me/cmn"].files
    files["model.safetensors"] = files["model.safetensors"][:5000]
    with pytest.raises(SharedModelError, match="damaged"):
        CMNModule.from_pretrained("me/cmn")


def test_a_hub_that_cannot_be_reached_is_said_and_the_cache_is_used(make, hub, monkeypatch):
    module = make("cmn")
    module.push_to_hub("me/cmn", token=TOKEN)
    CMNModule.from_pretrained("me/cmn")
    use(monkeypatch, "http://127.0.0.1:9")
    assert CMNModule.from_pretrained("me/cmn").hparams == module.hparams
    with pytest.raises(HubError, match="me/other"):
        CMNModule.from_pretrained("me/other")
    with pytest.raises(HubError, match="me/cmn"):
        module.push_to_hub("me/cmn", token=TOKEN)
