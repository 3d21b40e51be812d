"""The command `r2cmn audit`: counts and problems of a data folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

WithAudit = Annotated[bool, typer.Option("--audit/--no-audit", help="Write audit.json and audit.html into OUT.")]


def audit(
    dir: Annotated[Path, typer.Argument(help="Data folder: annotation.json beside images/.")],
    dataset: Annotated[
        str | None, typer.Option(help="iu_xray, mimic_cxr or chexpert_plus, to compare with. [default: recognized]")
    ] = None,
    license_class: Annotated[
        str | None, typer.Option(help="public, non_commercial or dua. [default: that of the collection, else dua]")
    ] = None,
    tags: Annotated[
        Path | None, typer.Option(help="Tags of normal studies: mesh.json, or NLMCXR_reports.tgz of Open-i.")
    ] = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Read the images.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write everything found to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file.")] = None,
) -> None:
    """Count a data set, compare it with published counts, and find problems that would spoil a result.

    r2cmn audit data/iu_xray
    r2cmn audit data/iu_xray --tags NLMCXR_reports.tgz --json audit.json --html audit.html
    r2cmn audit data/mimic_cxr --no-images                  reports and splits only, in a minute

    Images are read once and remembered. Nothing leaves this machine. The exit code is 1 if the folder should not
    be used: a patient or study in two splits, reports without words, images that cannot be read.
    """
    from rich.console import Console

    from r2cmn.audit import audit as run_audit
    from r2cmn.audit.page import write_html, write_json
    from r2cmn.audit.show import tables
    from r2cmn.files import check_writable

    for out in filter(None, (json, html)):
        check_writable(out, [dir / "annotation.json", dir / "prepare.json", tags])
    found = run_audit(dir, dataset, license_class, tags, images)
    Console(highlight=False).print(tables(found))
    if json is not None:
        write_json(json, found)
    if html is not None:
        write_html(html, found)
    if found.errors:
        raise typer.Exit(1)


def audit_beside(dir: Path) -> bool:
    """Audit a folder that was just prepared, write audit.json and audit.html into it, and return whether it is sound.

    Problems and notes go to stderr.
    """
    from r2cmn.audit import audit as run_audit
    from r2cmn.audit.page import write_html, write_json

    try:
        found = run_audit(dir)
        write_json(dir / "audit.json", found)
        write_html(dir / "audit.html", found)
    except (ValueError, OSError) as error:  # the data folder itself is complete
        print(f"r2cmn: error: {dir} was prepared, but not audited: {error}", file=sys.stderr)
        return False
    for note in found.notes:
        if note not in found.origin.prepared.notes:  # the preparation has printed its own
            print(f"r2cmn: note: {note}", file=sys.stderr)
    for problem in found.problems:
        print(f"r2cmn: {'error' if problem.error else 'warning'}: {problem} (audit.json names them)", file=sys.stderr)
    print(f"r2cmn: audit: {dir / 'audit.html'} and audit.json", file=sys.stderr)
    return not found.errors
