"""METEOR 1.5 (Denkowski and Lavie, 2014) through its jar, which pycocoevalcap brings: one run of Java a corpus.

pycocoevalcap speaks to the jar line by line under a lock. A line break in a report shifts its questions and answers,
and after any failure the interpreter waits for that lock when it ends. The jar's file mode has no such conversation. It
is asked for what it counts in each report, from which one formula scores the corpus and every resample of it.
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

import numpy as np

# 1 GB holds a test set of MIMIC-CXR. Flags that shorten the start of other programs lengthen this one: most of its
# time goes into reading the table of paraphrases, which the full compiler makes faster.
OPTIONS = ("-Xmx1G",)
TIMEOUT = 300.0
"""Seconds after which Java is ended; below the ten minutes that waiting processes grant under NCCL."""

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""The jar's parameters for ranking English: recall in F, shape and size of the penalty, content words."""
WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""Of matches that are exact, by stem, by synonym and by paraphrase."""
NUM_STATISTICS = 23


class MeteorError(RuntimeError):
    """METEOR could not be computed; the message says why."""


def java_available() -> bool:
    """Say whether `java` is on the PATH."""
    return shutil.which("java") is not None


def meteor(generated: Sequence[str], references: Sequence[str], timeout: float = TIMEOUT) -> float:
    """Score a corpus with METEOR 1.5, English, normalised: what pycocoevalcap computes.

    The score belongs to the corpus: the mean over reports or over processes is another number. Arguments and errors
    are those of `meteor_statistics`.
    """
    return float(meteor_of_sums(meteor_statistics(generated, references, timeout).sum(axis=0, keepdims=True))[0])


def meteor_statistics(generated: Sequence[str], references: Sequence[str], timeout: float = TIMEOUT) -> np.ndarray:
    """Return (n, 23) what the jar counts in each report: the sum over a corpus gives its score.

    Columns, generated before reference in each pair: words (2), function words (2), for each of the four kinds of match
    the matched content words (2) and function words (2), chunks (1), matched words (2). A report that matches its
    reference whole and in order has no chunk, because the jar adds none to the corpus.

    Args:
        generated: reports; an empty one scores 0.
        references: one for each report. `|||`, which separates references in the jar's other mode, is left out.
        timeout: seconds, after which Java and what it started are ended.

    Raises:
        ValueError: without reports, or if there are not as many references.
        MeteorError: without Java or the jar, after `timeout`, or if Java fails or does not answer for every report.
    """
    if len(generated) != len(references) or not len(generated):
        raise ValueError(
            f"METEOR needs one reference for each of at least one report, not {len(generated)} and {len(references)}"
        )
    if not java_available():
        raise MeteorError("METEOR needs `java` on the PATH: install a Java runtime, or set metrics.meteor to false")
    with tempfile.TemporaryDirectory(prefix="r2cmn-meteor-", ignore_cleanup_errors=True) as folder:
        files = [_write(Path(folder) / "generated", generated), _write(Path(folder) / "references", references)]
        command = ["java", *OPTIONS, "-jar", str(_jar()), *files, "-l", "en", "-norm", "-ssOut"]
        output = _run(command, folder, timeout)
    statistics = _read(output, len(generated))
    words, matched, chunks = statistics[:, 0:2], statistics[:, 21:23], statistics[:, 20]
    chunks[(words == matched).all(axis=1) & (chunks == 1)] = 0
    return statistics


def meteor_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return the (R,) scores of corpora, in [0, 1], from the (R, 23) sums of `meteor_statistics`.

    Denkowski and Lavie (2014), section 2: F of weighted precision and recall, less a penalty for each break in order.
    """
    by_word_class = np.array([DELTA, 1 - DELTA])  # content words, function words
    words, function = sums[:, 0:2], sums[:, 2:4]
    lengths = DELTA * (words - function) + (1 - DELTA) * function  # (R, 2)
    matches = sums[:, 4:20].reshape(-1, len(WEIGHTS), 2, 2)  # kind of match, word class, side
    weighted = np.einsum("rkcs,k,c->rs", matches, np.array(WEIGHTS), by_word_class)
    precision, recall = _ratio(weighted, lengths).T
    f_mean = _ratio(precision * recall, (1 - ALPHA) * recall + ALPHA * precision)
    fragmentation = _ratio(sums[:, 20], sums[:, 21:23].mean(axis=1))
    return f_mean * (1 - GAMMA * fragmentation**BETA)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, with 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


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


def _read(output: str, num_reports: int) -> np.ndarray:
    lines = output.strip().splitlines()
    try:
        statistics = np.array([[float(number) for number in line.split()] for line in lines])
    except ValueError:
        statistics = np.empty(0)
    if statistics.shape != (num_reports, NUM_STATISTICS) or not np.isfinite(statistics).all():
        raise MeteorError(
            f"METEOR's Java did not print {NUM_STATISTICS} numbers for each of {num_reports} reports; its last line "
            f"was {lines[-1] if lines else ''!r}"
        )
    return statistics
