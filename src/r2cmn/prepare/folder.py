"""The data folder on disk: images, manifest, record, terms of use and, written last, `annotation.json`."""

from __future__ import annotations

import csv
import errno
import io
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from r2cmn.files import PRIVATE_FILE, PRIVATE_FOLDER, PUBLIC_FILE, read_json, read_object, write_whole
from r2cmn.files.folders import make_private_folder

STATE = ".prepare"
"""The folder that records which images are finished, so that a stopped run can be resumed."""

RECORD = "prepare.json"
MANIFEST = "manifest.csv"
TERMS = "LICENSE.txt"
_OPTIONS = "options.json"


class OutputError(OSError):
    """A data folder cannot be written."""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One image of a data folder: a row of `manifest.csv`.

    Attributes:
        study: id of the study.
        image: path below `images/`.
        source: name in the download.
        view: frontal or lateral, or the view position of the DICOM header; empty if the source does not tell.
        width, height: pixels of the file in the data folder.
        source_sha256, sha256: SHA-256 of the source and of the file in the data folder.
        steps: processing steps in order, joined by "; ".
    """

    study: str
    image: str
    source: str
    view: str
    width: int
    height: int
    source_sha256: str
    sha256: str
    steps: str


class DataFolder:
    """Writes a data folder.

    A folder without `annotation.json` is not a data folder. If a run stops before that file is written, the same
    command resumes it.

    Attributes:
        dir: the folder.
        images: its subfolder of images.
        state: its subfolder `.prepare`.
        private: folders have mode 0700 and files 0600.
        is_finished: an earlier run with the same options completed the folder.

    Args:
        dir: the folder; it is created if it does not exist.
        options: plain values that determine the content; `data` is the name of the collection.
        image_options: the options that determine the images. A finished folder is then made anew with other values of
            the other options, and its images are reused. None: all options must be those of the earlier run.
        private: only the owner may read the folder.

    Raises:
        OutputError: if the folder cannot be written, holds other files, or was begun with other options.
    """

    def __init__(
        self,
        dir: Path,
        options: Mapping[str, Any],
        image_options: Collection[str] | None = None,
        private: bool = False,
    ):
        self.dir = dir
        self.images = dir / "images"
        self.state = dir / STATE
        self.private = private
        self._options = json.loads(json.dumps(options))
        self._image_options = image_options
        with self.explained():
            self._check()
            self.make_folder(self.images)
            if private and dir.stat().st_mode & 0o077:
                dir.chmod(PRIVATE_FOLDER)
            self.is_finished = (dir / "annotation.json").is_file() and not self.state.exists()
            if not self.is_finished or image_options is not None:
                self.make_folder(self.state)
                if not (self.state / _OPTIONS).exists():
                    self._write(f"{STATE}/{_OPTIONS}", json.dumps(self._options))

    @property
    def file_mode(self) -> int:
        """Permissions of its files."""
        return PRIVATE_FILE if self.private else PUBLIC_FILE

    def make_folder(self, folder: Path) -> None:
        """Create a folder and its missing parents."""
        if self.private:
            make_private_folder(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)

    def finish(
        self,
        annotation: Mapping[str, Any],
        rows: Sequence[ManifestRow],
        record: Mapping[str, Any],
        files: Mapping[str, str],
        indent: int | None = 1,
    ) -> None:
        """Write the manifest, the record, other files, and `annotation.json` last.

        Args:
            annotation: {"train": [entry, ...], "val": [...], "test": [...]}.
            rows: rows of the manifest.
            record: content of `prepare.json`; the options are added. If its "left_out" is not empty, a later run tries
                these images again.
            files: text of further files by name, such as LICENSE.txt.
            indent: indentation of `annotation.json`.

        Raises:
            OutputError: if the disk is full or the folder cannot be written.
        """
        with self.explained(rows):
            for name, text in files.items():
                self._write(name, text)
            self._write(MANIFEST, _table(rows))
            self._write(RECORD, json.dumps({**record, "options": self._options}, indent=1, ensure_ascii=False))
            self._write("annotation.json", json.dumps(annotation, indent=indent, ensure_ascii=False))
            if self._image_options is None and not record.get("left_out"):
                shutil.rmtree(self.state, ignore_errors=True)

    @contextmanager
    def explained(self, done: Sized = ()) -> Iterator[None]:
        """Turn an OSError into one sentence.

        Args:
            done: the finished images.

        Raises:
            OutputError: in place of an OSError.
        """
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                after = f" after {len(done):,} images" if done else ""
                raise OutputError(
                    f"the disk of {self.dir} is full{after}: free some space and run the same command again to resume"
                ) from error
            raise OutputError(
                f"{self.dir} cannot be written ({error.strerror or error}): name another folder"
            ) from error

    def _check(self) -> None:
        """Refuse a folder that holds anything else than the work of an earlier run with these options."""
        if self.dir.exists() and not self.dir.is_dir():
            raise OutputError(f"{self.dir} is a file: name a folder")
        names = {path.name for path in self.dir.iterdir()} - {"lost+found"} if self.dir.exists() else set()
        if names and names.isdisjoint({STATE, RECORD}):
            raise OutputError(f"{self.dir} holds other files ({min(names)}): name an empty folder or a new one")
        begun = self._begun_with()
        if begun and "data" not in begun:  # a folder of before this option: its record names the collection
            begun["data"] = (read_object(self.dir / RECORD) or {}).get("dataset") or self._options.get("data")
        compared = self._image_options if self._image_options is not None else {**begun, **self._options}
        for key in compared if begun else ():
            if begun.get(key) != self._options.get(key):
                raise OutputError(
                    f"{self.dir} was begun with {key} {begun.get(key)}, not {self._options.get(key)}: "
                    "give the same options, or name another folder"
                )

    def _begun_with(self) -> dict[str, Any]:
        """Return the options of the earlier run; empty if there was none."""
        for path in (self.state / _OPTIONS, self.dir / RECORD):
            if not path.exists():
                continue
            try:
                content = read_json(path)
                return dict(content if path.name == _OPTIONS else content["options"])
            except (ValueError, KeyError, TypeError):
                raise OutputError(f"{path} is damaged: remove {self.dir} and start again") from None
        return {}

    def _write(self, name: str, text: str) -> None:
        write_whole(self.dir / name, text, self.file_mode)


def _table(rows: Sequence[ManifestRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ManifestRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
