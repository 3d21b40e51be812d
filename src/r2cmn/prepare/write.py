"""A data folder in the making: whole at its end, and taken up again where it was left.

A file is written beside its target and renamed. `annotation.json`, without which a folder is no data folder, comes
last. Until then the images done are noted, one a line, in `.prepare.jsonl`; a restart with the same options skips them.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

JOURNAL = ".prepare.jsonl"
RECORD = "prepare.json"


class OutputError(OSError):
    """A data folder cannot be written."""


@dataclass(frozen=True)
class ManifestRow:
    """One image of a data folder: a row of `manifest.csv`.

    Attributes:
        study: the id.
        image: its path below images/.
        source: its name in the download.
        view: frontal or lateral, or what the DICOM header says, or an empty text where the source does not tell.
        width, height: pixels as kept.
        source_sha256, sha256: of the source and as kept, in hexadecimal.
        steps: what was done to the source, in order, joined by "; ".
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
    """A folder that is being filled.

    Attributes:
        rows: what is done, by the path below images/.
        finished: whether an earlier run with the same options left nothing to do.

    Args:
        dir: the folder; made where it is not there.
        options: plain values on which its content depends; a folder begun with others is refused.

    Raises:
        OutputError: where the folder cannot be written, holds other files or was begun with other options.
    """

    def __init__(self, dir: Path, options: Mapping[str, Any]):
        self.dir = dir
        self.options = json.loads(json.dumps(options))
        self.rows: dict[str, ManifestRow] = {}
        self._journal = dir / JOURNAL
        with self._explained():
            if dir.exists() and not dir.is_dir():
                raise OutputError(f"{dir} is a file: name a folder")
            (dir / "images").mkdir(parents=True, exist_ok=True) if self._is_new() else self._check_options()
            self.finished = (dir / "annotation.json").is_file() and not self._journal.exists()
            if not self.finished:
                self.rows = self._read_journal()
                self._rewrite_journal()

    def add(self, row: ManifestRow, content: bytes | None, link_to: Path | None = None) -> None:
        """Write an image, or a link to it, and note that it is done.

        Raises:
            OutputError: where the disk is full or the folder cannot be written.
        """
        with self._explained():
            target = self.dir / "images" / row.image
            target.parent.mkdir(parents=True, exist_ok=True)
            if link_to is not None:
                target.unlink(missing_ok=True)
                target.symlink_to(link_to.resolve())
            else:
                write_whole(target, content or b"", flush=False)
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        self.rows[row.image] = row

    def finish(self, annotation: Mapping[str, Any], record: Mapping[str, Any], files: Mapping[str, str]) -> None:
        """Write the manifest, what is known of the data, the files by name, and last `annotation.json`.

        Args:
            annotation: {"train": [entry, ...], "val": [...], "test": [...]}.
            record: goes to `prepare.json` with the options; where its "left_out" is not empty, the same command may
                be given again and tries those once more.
            files: further files, such as LICENSE.txt.

        Raises:
            OutputError: where the disk is full or the folder cannot be written.
        """
        used = {path for entries in annotation.values() for entry in entries for path in entry["image_path"]}
        with self._explained():
            for name, text in files.items():
                write_whole(self.dir / name, text.encode())
            rows = [row for image, row in sorted(self.rows.items()) if image in used]
            write_whole(self.dir / "manifest.csv", _table(rows).encode())
            write_whole(self.dir / RECORD, _json({**record, "options": self.options}))
            write_whole(self.dir / "annotation.json", _json(annotation))
            if not record.get("left_out"):
                self._journal.unlink(missing_ok=True)

    def _is_new(self) -> bool:
        if not self.dir.exists():
            return True
        names = {path.name for path in self.dir.iterdir()} - {"lost+found"}
        if not names:
            return True
        if JOURNAL not in names and RECORD not in names:
            raise OutputError(f"{self.dir} holds other files ({min(names)}): name an empty folder or a new one")
        return False

    def _check_options(self) -> None:
        begun = self._begun_with()
        other = [key for key in {**begun, **self.options} if begun.get(key) != self.options.get(key)]
        if other:
            key = other[0]
            raise OutputError(
                f"{self.dir} was begun with {key} {begun.get(key)}, not {self.options.get(key)}: "
                "give the same options, or name another folder"
            )

    def _begun_with(self) -> dict[str, Any]:
        for path in (self._journal, self.dir / RECORD):
            try:
                with path.open(encoding="utf-8") as file:
                    text = file.readline() if path == self._journal else file.read()
                return dict(json.loads(text)["options"])
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError):
                raise OutputError(f"{path} is damaged: remove {self.dir} and start again") from None
        return {}

    def _read_journal(self) -> dict[str, ManifestRow]:
        names = {field.name for field in fields(ManifestRow)}
        rows = {}
        lines = self._journal.read_text(encoding="utf-8").splitlines()[1:] if self._journal.exists() else []
        for line in lines:
            try:
                values = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed or met a full disk
            if set(values) == names and (self.dir / "images" / values["image"]).is_file():
                rows[values["image"]] = ManifestRow(**values)
        return rows

    def _rewrite_journal(self) -> None:
        lines = [json.dumps({"options": self.options}), *(json.dumps(asdict(row)) for row in self.rows.values())]
        write_whole(self._journal, ("\n".join(lines) + "\n").encode())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutputError(
                    f"the disk of {self.dir} is full after {len(self.rows)} images: make room and give the same "
                    "command again, which goes on from there"
                ) from error
            raise OutputError(f"{self.dir} cannot be written ({error.strerror}): name another folder") from error


def write_whole(path: Path, content: bytes, flush: bool = True) -> None:
    """Write a file beside its target and rename it, so that it is there whole or not at all.

    Args:
        path: the target; its folder is there.
        content: what it shall hold.
        flush: wait until the disk has it; else a loss of power, not a kill, may leave it empty.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()


def _table(rows: list[ManifestRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(ManifestRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
