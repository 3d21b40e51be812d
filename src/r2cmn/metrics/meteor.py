"""METEOR 1.5 (Denkowski and Lavie, 2014) with the jar of pycocoevalcap: Java runs once for a corpus.

pycocoevalcap talks to the jar line by line under a lock: a line break in a report mixes up the replies, and after any
failure the interpreter hangs at exit. The file mode of the jar, used here, avoids both. It prints the counts of each
report, from which one formula scores the corpus and every resample of it.
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

# 1 GB is enough for a test set of MIMIC-CXR. Flags for a faster start of Java make this slower: most of the time goes
# into reading the table of paraphrases, which the full compiler speeds up.
OPTIONS = ("-Xmx1G",)
TIMEOUT = 300.0
"""Seconds after which Java is killed; less than the ten minutes that other processes wait under NCCL."""

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""The jar's parameters for English (ranking): recall in F, shape and size of the penalty, content words."""
WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""Weights of exact matches and matches by stem, synonym and paraphrase."""
NUM_STATISTICS = 23


class MeteorError(RuntimeError):
    """METEOR could not be computed; the message gives the reason."""


def java_available() -> bool:
    """Whether `java` is on the PATH."""
    return shutil.which("java") is not None


def meteor(generated: Sequence[str], references: Sequence[str], timeout: float = TIMEOUT) -> float:
    """Score a corpus with METEOR 1.5, English, normalized, as pycocoevalcap does.

    The score is that of the corpus; the mean over reports or processes is another number. Arguments and errors are
    those of `meteor_statistics`.
    """
    return float(meteor_of_sums(meteor_statistics(generated, references, timeout).sum(axis=0, keepdims=True))[0])


def meteor_statistics(generated: Sequence[str], references: Sequence[str], timeout: float = TIMEOUT) -> np.ndarray:
    """Return (n, 23) counts of the jar for each report: their sum over a corpus gives its score.

    Columns, generated before reference in each pair: words (2), function words (2), for each of the four kinds of match
    the matched content words (2) and function words (2), chunks (1), matched words (2). A report that matches its
    reference completely and in order has 0 chunks, because the jar adds none to the corpus.

    Args:
        generated: reports; an empty one scores 0.
        references: one for each report. `|||`, which separates references in the jar's other mode, is removed.
        timeout: seconds after which Java and its child processes are killed.

    Raises:
        ValueError: without reports, or if the number of references differs.
        MeteorError: without Java or the jar, after `timeout`, or if Java fails or does not print numbers for every
            report.
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

    Denkowski and Lavie (2014), section 2: F of weighted precision and recall, with a penalty for breaks in word order.
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
    """Divide; 0 if the denominator is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _jar() -> Path:
    spec = importlib.util.find_spec("pycocoevalcap")  # a namespace package: it has no __file__
    for folder in (spec and spec.submodule_search_locations) or ():
        jar = Path(folder).absolute() / "meteor" / "meteor-1.5.jar"
        if jar.is_file():
            return jar
    raise MeteorError("METEOR needs meteor-1.5.jar, which comes with pycocoevalcap: install pycocoevalcap 1.2 again")


def _write(path: Path, texts: Sequence[str]) -> str:
    """Write a line for each text, with every line break replaced by a space."""
    lines = [" ".join(re.sub(r"\|{3,}", " ", text).split()) for text in texts]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="replace")
    return str(path)


def _run(command: list[str], folder: str, timeout: float) -> str:
    """Return the output of a command; on return or error, the command and its child processes have ended."""
    try:
        # a new session, because `java` may be a script: the whole group is killed
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
    except BaseException as error:  # KeyboardInterrupt too, which does not reach Java in its own group
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise MeteorError(f"METEOR took more than {timeout:g} seconds and was killed") from None
        raise
    if process.returncode:
        lines = complaint.decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        raise MeteorError(f"METEOR's Java exited with code {process.returncode}: {last}")
    return output.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
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
