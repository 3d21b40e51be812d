"""The files of an audit."""

from __future__ import annotations

import json
from pathlib import Path

from r2cmn.audit import Audit
from r2cmn.audit.page import page
from r2cmn.prepare.private import write_file
from r2cmn.prepare.write import OutputError, write_whole


def write_json(path: Path, audit: Audit) -> None:
    """Write everything found but the text of reports; it names studies.

    Raises:
        OutputError: where it cannot be written.
    """
    _write(path, json.dumps(audit.record(), indent=1, ensure_ascii=False), audit)


def write_html(path: Path, audit: Audit) -> None:
    """Write the page.

    Raises:
        OutputError: where it cannot be written.
    """
    _write(path, page(audit), audit)


def _write(path: Path, text: str, audit: Audit) -> None:
    """Write a file whole or not at all; under dua, for its owner only."""
    write = write_file if audit.origin.license_class == "dua" else write_whole
    try:
        write(path, text.encode(errors="replace"))
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}): name another file") from error
