"""Models on a hub: download without code or pickles, and push under the rules of the license class.

`huggingface_hub` is the client; the environment variables `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` work as it
documents them.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from r2cmn import __version__
from r2cmn.files import load_optional
from r2cmn.files.words import first_line
from r2cmn.sharing.card import Facts
from r2cmn.sharing.folder import CONFIG, FILES, SharedModelError, is_shared, read_parameters, save

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
PERMISSION = (
    "the model was trained under a data use agreement (license_class: dua): its weights and vocabulary may be shared "
    "only with those who signed it. If you have the permission to do so, give {option}; the repository is then private"
)
ONLY_PRIVATE = "a model under a data use agreement (license_class: dua) is pushed to private repositories only"


class HubError(ValueError):
    """A hub refuses a request or cannot be reached."""


def find_folder(source: str | Path, revision: str | None = None, token: str | None = None) -> Path:
    """Return a folder with a model: the given one, or the files of a repository in the local cache of the hub.

    Args:
        source: a folder, or a repository OWNER/NAME.
        revision: branch, tag or commit of the repository.
        token: of the hub; None for the one that its client has stored.

    Raises:
        SharedModelError: if there is neither such a folder nor such a repository.
        HubError: if the hub cannot be reached and the files are not in the cache.
    """
    path = Path(source).expanduser()
    if path.exists():
        if not is_shared(path):
            raise SharedModelError(f"{path} holds no model: there is no file {CONFIG}")
        return path
    if not _REPOSITORY.fullmatch(str(source)):
        raise SharedModelError(f"there is no folder '{source}', and it is not the name of a repository (OWNER/NAME)")
    hub = _client("a model of a hub")
    with _in_one_sentence(str(source)):
        found = hub.snapshot_download(
            str(source), revision=revision, token=token, allow_patterns=list(FILES), library_name="r2cmn",
            library_version=__version__,
        )  # fmt: skip
    return Path(found)


def push(
    model: Any,
    repository: str,
    facts: Facts | None = None,
    private: bool | None = None,
    i_have_permission: bool = False,
    token: str | None = None,
    option: str = "i_have_permission=True",
) -> str:
    """Upload a model to a repository, which is created if it does not exist; return its address.

    A model under a data use agreement is refused without `i_have_permission`. With it, it goes to a private repository
    only; nothing is uploaded to an existing one that is public.

    Args:
        model: a `CMNModule`, or a folder that `save` has written, whose model card may have been edited.
        repository: OWNER/NAME.
        facts: see `save`.
        private: whether a new repository is private; None for the owner's default, and True under an agreement.
        i_have_permission: whether sharing a model under a data use agreement is permitted.
        token: of the hub; None for the one that its client has stored.
        option: what to call `i_have_permission` in the message.

    Raises:
        ValueError: if the license class forbids it.
        HubError: if the hub refuses.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"the name of a repository is OWNER/NAME, not '{repository}'")
    is_folder = isinstance(model, Path)
    license_class = read_parameters(model)["data"].get("license_class") if is_folder else model.license_class
    is_restricted = license_class not in ("public", "non_commercial")
    if is_restricted and not i_have_permission:
        raise ValueError(PERMISSION.format(option=option))
    if is_restricted and private is False:
        raise ValueError(f"{repository}: {ONLY_PRIVATE}")
    api = _client("pushing a model").HfApi(token=token, library_name="r2cmn", library_version=__version__)
    with tempfile.TemporaryDirectory(prefix="r2cmn-push-") as temporary:
        folder = model if is_folder else Path(temporary) / "model"
        if not is_folder:
            save(model, folder, facts)
        with _in_one_sentence(repository):
            api.create_repo(repository, private=True if is_restricted else private, exist_ok=True)
            if is_restricted and not api.repo_info(repository).private:
                raise HubError(f"{repository} is public: {ONLY_PRIVATE}")
            done = api.upload_folder(
                repo_id=repository, folder_path=folder, allow_patterns=list(FILES), commit_message="Upload a model"
            )
    return str(done.commit_url)


def _client(what: str) -> Any:
    return load_optional("huggingface_hub", what, "hub")


@contextmanager
def _in_one_sentence(repository: str) -> Iterator[None]:
    """Raise HubError, naming the repository, in place of an error of the hub's client."""
    errors = load_optional("huggingface_hub.errors", "a hub", "hub")
    try:
        yield
    except HubError:
        raise
    except (errors.HTTPError, errors.EntryNotFoundError, OSError, ValueError) as error:
        raise HubError(f"{repository}: {type(error).__name__}: {first_line(error)}") from error
