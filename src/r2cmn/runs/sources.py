"""The sources that run: r2cmn's own, those of a user's packages, their version and commit."""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


@functools.lru_cache(maxsize=32)
def digest_sources(place: Path) -> str:
    """Digest the Python files of a package or of a single module; the configuration inside the wheel is left out."""
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(place).as_posix()
        if name.split("/")[0] not in ("conf", "experiments"):
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def own_packages(targets: Iterable[str]) -> list[Path]:
    """Return the user's own packages that class paths name: neither r2cmn nor installed libraries."""
    names = {target.split(".")[0] for target in targets}
    # unlike `python -m r2cmn`, the command `r2cmn` does not search the current folder; both must agree
    path = [str(Path.cwd()), *sys.path]
    found = []
    for name in sorted(names - {"r2cmn"}):
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            places = [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""] if place]
            found += [place for place in places if not {"site-packages", "dist-packages"} & set(place.parts)]
    return found


def version() -> str | None:
    """Return the installed version of r2cmn; None if the sources were copied."""
    try:
        return importlib.metadata.version("r2cmn")
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout that holds these sources; None if they are not in one."""
    here = Path(__file__)
    try:
        for command in (["ls-files", "--error-unmatch", here.name], ["rev-parse", "HEAD"]):
            done = subprocess.run(
                ["git", "-C", str(here.parent), *command],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=10,
                check=True,
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
