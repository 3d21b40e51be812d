import os
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from r2cmn.metrics.meteor import (
    OPTIONS,
    MeteorError,
    _jar,
    _write,
    java_available,
    meteor,
    meteor_of_sums,
    meteor_statistics,
)

GENERATED = [
    "the heart is normal in size . the lungs are clear .",
    "no pleural effusion or pneumothorax . the heart is enlarged .",
    "",
    "there is a ||| small effusion .",
    "le cœur est élargi , 5 ° – naïve .",
    "",
    "cardiac silhouette within normal limits ; degenerative changes of the spine .",
]
REFERENCES = [
    "heart size is normal . lungs are clear .",
    "the cardiac silhouette is enlarged . no effusion is seen .",
    "the lungs are clear .",
    "small left pleural effusions .",
    "le cœur est elargi , 5 ° – naïve .",
    "",
    "the heart size is within normal limit . there are degenerative changes in the spine .",
]

LINE = " ".join(str(number) for number in range(1, 24))

needs_java = pytest.mark.skipif(not java_available(), reason="there is no java on the PATH")


def fake_java(folder, monkeypatch, script):
    """Put a script named `java` first on the PATH."""
    folder.mkdir(exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def hanging_java(folder, monkeypatch):
    """A `java` that starts another process, writes both process ids and never ends."""
    fake_java(folder, monkeypatch, f"sleep 300 &\necho $$ $! > {folder}/new; mv {folder}/new {folder}/pids\nsleep 300")
    return folder / "pids"


def alive(pids):
    """Return the processes that still run, without zombies."""
    answer = subprocess.run(["ps", "-o", "pid=,stat=", "-p", ",".join(pids)], capture_output=True, text=True).stdout
    return [line for line in answer.splitlines() if line.split()[1][0] != "Z"]


def assert_all_end(pids):
    deadline = time.monotonic() + 5  # a killed process takes a moment to leave the table
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pids)


def test_without_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not java_available()
    with pytest.raises(MeteorError, match="java"):
        meteor(GENERATED, REFERENCES)


def test_a_hanging_java_is_killed_with_its_children(tmp_path, monkeypatch):
    pids = hanging_java(tmp_path / "bin", monkeypatch)
    with pytest.raises(MeteorError, match="more than 2 seconds"):
        meteor(GENERATED, REFERENCES, timeout=2)
    pids = pids.read_text().split()
    assert len(pids) == 2
    assert_all_end(pids)


def test_an_interrupt_kills_java(tmp_path, monkeypatch):
    pids = hanging_java(tmp_path / "bin", monkeypatch)

    def interrupt():
        while not pids.exists():
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            meteor(GENERATED, REFERENCES, timeout=60)
    finally:
        signal.signal(signal.SIGINT, earlier)
        thread.join(5)
    assert_all_end(pids.read_text().split())


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo Could not create the Java Virtual Machine >&2; exit 1", "code 1: Could not create"),
        ("exit 3", "code 3: no message"),
        ("kill -9 $$", "code -9"),
        ("echo Meteor version: 1.5", "23 numbers for each of 7 reports.*'Meteor version: 1.5'"),
        (f"for i in 1 2 3 4 5 6; do echo {LINE}; done", "23 numbers for each of 7 reports.* '1 2"),
        (f"for i in 1 2 3 4 5 6 7; do echo {LINE} 24; done", "23 numbers .* 24'"),
        (f"for i in 1 2 3 4 5 6; do echo {LINE}; done; echo {LINE[2:]}", "23 numbers .*'2 3"),
        (f"for i in 1 2 3 4 5 6; do echo {LINE}; done; echo NaN {LINE[2:]}", "23 numbers .*'NaN 2"),
        ("true", "23 numbers .*''"),
    ],
)
def test_a_failing_java_is_an_error(tmp_path, monkeypatch, script, sentence):
    fake_java(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(MeteorError, match=sentence):
        meteor(GENERATED, REFERENCES)


def test_a_java_that_cannot_start_is_an_error(tmp_path, monkeypatch):
    fake_java(tmp_path / "bin", monkeypatch, "")
    (tmp_path / "bin" / "java").write_text("#!/no/such/interpreter\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MeteorError, match="could not start"):
        meteor(GENERATED, REFERENCES)


def test_the_statistics_are_read_and_no_file_is_left(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    fake_java(tmp_path / "bin", monkeypatch, f"for i in 1 2; do echo '{LINE}'; done")
    assert meteor_statistics(["a", "b"], ["c", "d"]).tolist() == [list(map(float, LINE.split()))] * 2
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_report_that_matches_completely_and_in_order_has_no_chunk(tmp_path, monkeypatch):
    whole, broken, shorter = ([n, 4, *[0] * 18, chunks, n, 4] for n, chunks in ((4, 1), (4, 2), (3, 1)))
    shorter[0] = 5  # three of five words match
    rows = "; ".join(f"echo {' '.join(map(str, row))}" for row in (whole, broken, shorter, [0] * 23))
    fake_java(tmp_path / "bin", monkeypatch, rows)
    assert meteor_statistics(["a"] * 4, ["a"] * 4)[:, 20].tolist() == [0, 2, 1, 0]


def plain_meteor(s):
    """The formula of Denkowski and Lavie (2014) by plain loops over the numbers of the jar."""
    exact, stem, synonym, paraphrase = s[4:8], s[8:12], s[12:16], s[16:20]
    ratios = []
    for side in (0, 1):
        found = 0.0
        for weight, (content, function) in (
            (1.0, exact[side::2]),
            (0.6, stem[side::2]),
            (0.8, synonym[side::2]),
            (0.6, paraphrase[side::2]),
        ):
            found += weight * (0.75 * content + 0.25 * function)
        length = 0.75 * (s[side] - s[2 + side]) + 0.25 * s[2 + side]
        ratios.append(found / length if length else 0.0)
    p, r = ratios
    if not p or not r:
        return 0.0
    return 1 / (0.15 / p + 0.85 / r) * (1 - 0.6 * (s[20] / ((s[21] + s[22]) / 2)) ** 0.2)


def test_the_formula_equals_a_plain_one():
    random = np.random.default_rng(0)
    sums = random.integers(1, 9, size=(50, 23)).astype(float)
    sums[:, 0:2] += 60
    sums[0, 4:23] = 0  # nothing matches
    sums[1] = 0  # nothing at all
    sums[2, 20] = 0  # in order
    ours = meteor_of_sums(sums)
    assert np.abs(ours - [plain_meteor(row) for row in sums]).max() < 1e-15
    assert ours[0] == ours[1] == 0 < ours[2]


def test_java_reads_one_line_per_report(tmp_path, monkeypatch):
    # the last six arguments are: generated references -l en -norm -ssOut
    script = f'while [ $# -gt 6 ]; do shift; done; cp "$1" "$2" {tmp_path}; yes {LINE} | head -6'
    fake_java(tmp_path / "bin", monkeypatch, script)
    generated = ["a\nb", "c\r\nd\re", "", " f ||| g||||h ", "i\u2028j\x85k\x0bl\x1cm", "né \ud800"]
    meteor(generated, ["r ||| s", "\n", "t", "u", "v", "w"])
    lines = (tmp_path / "generated").read_bytes().decode().split("\n")
    assert lines == ["a b", "c d e", "", "f g h", "i j k l m", "né ?", ""]
    assert (tmp_path / "references").read_text().split("\n") == ["r s", "", "t", "u", "v", "w", ""]


@pytest.mark.parametrize(("generated", "references"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_lists_of_different_lengths_are_errors(generated, references):
    with pytest.raises(ValueError, match="one reference for each"):
        meteor(generated, references)


# ---- the real jar ----------------------------------------------------------------------------------------------------

CORPORA = {
    "plain": (GENERATED, REFERENCES),
    # the same words, laid out so that the other mode would hang or count two references
    "other layout": (
        [text.replace(" ", "\n", 1).replace(" . ", " .\r ") for text in GENERATED],
        [text.replace(" ", " ||| ", 1) for text in REFERENCES],
    ),
    "whole match": ([REFERENCES[0]], [REFERENCES[0]]),
    "nothing": (["", "", "the lungs are clear"], ["", "clear lungs", ""]),
}


@pytest.fixture(scope="module")
def real_statistics():
    """The statistics of all corpora from one start of Java, which takes ten seconds."""
    generated, references = ([text for pair in CORPORA.values() for text in pair[side]] for side in (0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LC_ALL", "C")  # Java before 18 takes the encoding of files from the locale
        rows = meteor_statistics(generated, references)
    ends = np.cumsum([len(pair[0]) for pair in CORPORA.values()])
    return dict(zip(CORPORA, np.split(rows, ends[:-1]), strict=True))


@pytest.fixture
def real_meteor(real_statistics, monkeypatch):
    """Return `meteor` with the real statistics of the corpus that is named."""

    def score(*names):
        rows = np.concatenate([real_statistics[name] for name in names])
        monkeypatch.setattr("r2cmn.metrics.meteor.meteor_statistics", lambda *_: rows)
        return meteor(*([text for name in names for text in CORPORA[name][side]] for side in (0, 1)))

    return score


@needs_java
@pytest.mark.slow
def test_equals_the_other_mode_of_the_jar(real_meteor):
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    keys = range(len(GENERATED))
    theirs, segments = scorer.compute_score({i: [REFERENCES[i]] for i in keys}, {i: [GENERATED[i]] for i in keys})
    assert 0.1 < theirs < 0.9
    assert abs(theirs - sum(segments) / len(segments)) > 0.01, "this text could not tell a corpus score from a mean"
    assert abs(real_meteor("plain") - theirs) < 1e-9
    assert abs(real_meteor("other layout") - theirs) < 1e-9


@needs_java
@pytest.mark.slow
def test_equals_the_scores_of_the_jar_for_each_report_and_for_all(tmp_path, real_statistics, real_meteor):
    generated, references = [*GENERATED, REFERENCES[0]], [*REFERENCES, REFERENCES[0]]  # the last matches whole
    files = [_write(tmp_path / "generated", generated), _write(tmp_path / "references", references)]
    command = ["java", *OPTIONS, "-jar", str(_jar()), *files, "-l", "en", "-norm"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    segments = [float(line.split()[-1]) for line in output.splitlines() if line.startswith("Segment ")]
    (final,) = (float(line.split()[-1]) for line in output.splitlines() if line.startswith("Final score"))
    statistics = np.concatenate([real_statistics["plain"], real_statistics["whole match"]])
    assert segments[-1] == 1
    assert np.abs(meteor_of_sums(statistics) - segments).max() < 1e-15
    assert abs(real_meteor("plain", "whole match") - final) < 1e-15


@needs_java
@pytest.mark.slow
def test_empty_reports_score_nothing(real_meteor):
    assert real_meteor("nothing") == 0


@needs_java
@pytest.mark.slow
def test_a_real_java_is_killed_after_the_timeout(tmp_path, monkeypatch):
    real = shutil.which("java")
    fake_java(tmp_path / "bin", monkeypatch, f'echo $$ > {tmp_path}/pid; exec "{real}" "$@"')
    with pytest.raises(MeteorError, match=r"more than 1\.5 seconds"):
        meteor(GENERATED * 200, REFERENCES * 200, timeout=1.5)
    assert_all_end((tmp_path / "pid").read_text().split())
