"""The methods of `CMNModule` that share a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from r2cmn.build import allow_targets
from r2cmn.sharing.card import Facts
from r2cmn.sharing.folder import load, save
from r2cmn.sharing.hub import find_folder, push

Module = TypeVar("Module", bound="Shareable")


class Shareable:
    """Writes a module to a folder or hub and reads it from there; see docs/share/models.md."""

    def save_pretrained(
        self, folder: str | Path, *, scores: str | Path | None = None, data: str | None = None
    ) -> list[Path]:
        """Write `config.json`, `text.json`, `model.safetensors` and the model card `README.md`.

        Args:
            folder: where to; it is created. Under a data use agreement only its owner can read it.
            scores: `scores.json` of the test of these weights, for the card; None says that they were not tested.
            data: the data set, for the card: `iu_xray`, `mimic_cxr`, whose terms the card then carries, or a title.

        Returns:
            The files.

        Raises:
            ValueError: if safetensors is not installed, `scores` cannot be read, or the module has a part without a
                description.
        """
        return save(self, Path(folder), Facts.of(scores, data))

    @classmethod
    def from_pretrained(
        cls: type[Module],
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        allow: Sequence[str] = (),
    ) -> Module:
        """Load a module, in evaluation mode, on the CPU. Nothing in the files is run, and a folder needs no network.

        Args:
            source: a folder of `save_pretrained`, or a repository OWNER/NAME of a hub.
            revision: branch, tag or commit of the repository.
            token: of the hub; None for the one that its client has stored.
            allow: packages of your own whose classes the description may name.

        Raises:
            SharedModelError: if the files are missing, damaged or do not fit each other.
            NotAllowedError: if the description names a class outside the allowed packages.
            HubError: if the hub refuses or cannot be reached.
        """
        allow_targets(*allow)
        return load(cls, find_folder(source, revision, token))

    def push_to_hub(
        self,
        repository: str,
        *,
        scores: str | Path | None = None,
        data: str | None = None,
        private: bool | None = None,
        i_have_permission: bool = False,
        token: str | None = None,
    ) -> str:
        """Upload the files of `save_pretrained` to a repository OWNER/NAME, which is created; return its address.

        A model of data under an agreement (`license_class: dua`) is refused without `i_have_permission=True`, and with
        it goes to a private repository only.

        Args:
            repository: OWNER/NAME.
            scores: see `save_pretrained`.
            data: see `save_pretrained`.
            private: whether a new repository is private; None for the owner's default.
            i_have_permission: whether you may share a model under a data use agreement.
            token: of the hub; None for the one that its client has stored.

        Raises:
            ValueError: if the license class forbids it.
            HubError: if the hub refuses or cannot be reached.
        """
        return push(self, repository, Facts.of(scores, data), private, i_have_permission, token)
