"""METEOR 1.5 (Denkowski and Lavie, 2014) through its jar, which pycocoevalcap brings: one run of Java a corpus.

pycocoevalcap speaks to the jar line by line under a lock. A line break in a report shifts its questions and answers,
and after any failure the interpreter waits for that lock when it ends. The jar's file mode gives the same number.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

# 1 GB holds a test set of MIMIC-CXR. Flags that shorten the start of other programs lengthen this one: most of its
# time goes into reading the table of paraphrases, which the full compiler makes faster.
OPTIONS = ("-Xmx1G",)
TIMEOUT = 300.0
"""Seconds after which Java is ended; below the ten minutes that waiting processes grant under NCCL."""


class MeteorError(RuntimeError):
    """METEOR could not be computed; the message says why."""


def java_available() -> bool:
    """Say whether `java` is on the PATH."""
    return shutil.which("java") is not None


def meteor(generated: Sequence[str], references: Sequence[str], timeout: float = TIMEOUT) -> float:
    """Score a corpus with METEOR 1.5, English, normalised: what pycocoevalcap computes.

    The score belongs to the corpus: the mean over reports or over processes is another number.

    Args:
        generated: reports; an empty one scores 0.
        references: one for each report. `|||`, which separates references in the jar's other mode, is left out.
        timeout: seconds, after which Java and what it started are ended.

    Raises:
        ValueError: without reports, or if there are not as many references.
        MeteorError: without Java or the jar, after `timeout`, or if Java fails or answers without a score.
    """
    if len(generated) != len(references) or not len(generated):
        raise ValueError(
            f"METEOR needs one reference for each of at least one report, not {len(generated)} and {len(references)}"
        )
    if not java_available():
        raise MeteorError("METEOR needs `java` on the PATH: install a Java runtime, or set metrics.meteor to false")
    with tempfile.TemporaryDirectory(prefix="r2cmn-meteor-", ignore_cleanup_errors=True) as folder:
        files = [_write(Path(folder) / "generated", generated), _write(Path(folder) / "references", references)]
        command = ["java", *OPTIONS, "-jar", str(_jar()), *files, "-l", "en", "-norm"]
        output = _run(command, folder, timeout)
    final = re.search(r"^Final score:\s*(\S+)\s*$", output, re.MULTILINE)
    try:
        return float(final[1]) if final else _unreadable(output)
    except ValueError:
        return _unreadable(output)


def _jar() -> Path:
    spec = importlib.util.find_spec("pycocoevalcap")  # a namespace package: it has no __file__
    for folder in (spec and spec.submodule_search_locations) or ():
        jar = Path(folder).absolute() / "meteor" / "meteor-1.5.jar"
        if jar.is_file():
            return jar
    raise MeteorError("METEOR needs meteor-1.5.jar, which comes with pycocoevalcap: install pycocoevalcap 1.2 again")


def _write(path: Path, texts: Sequence[str]) -> str:
    """Write one line a text: every kind of line break becomes a space."""
    lines = [" ".join(re.sub(r"\|{3,}", " ", text).split()) for text in texts]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="replace")
    return str(path)


def _run(command: list[str], folder: str, timeout: float) -> str:
    """Return what a command prints; on every way out the command and all that it started have ended."""
    try:
        # a session of its own: `java` may be a script, and the whole group must end with it
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise MeteorError(f"METEOR could not start `java`: {error}") from error
    try:
        output, complaint = process.communicate(timeout=timeout)
    except BaseException as error:  # KeyboardInterrupt too: Java sits in another group and would not hear of it
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise MeteorError(f"METEOR took more than {timeout:g} seconds and was ended") from None
        raise
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        raise MeteorError(
            f"METEOR's Java ended with code {process.returncode}: {lines[-1] if lines else 'it said nothing'}"
        )
    return output.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        process.kill()
        process.communicate()


def _unreadable(output: str) -> float:
    lines = output.strip().splitlines()
    raise MeteorError(f"METEOR's Java printed no score; its last line was {lines[-1] if lines else ''!r}")
