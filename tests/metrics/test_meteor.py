import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from r2cmn.metrics.meteor import MeteorError, java_available, meteor

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

needs_java = pytest.mark.skipif(not java_available(), reason="there is no java on the PATH")


def fake_java(folder, monkeypatch, script):
    """Put a `java` of our own before all others."""
    folder.mkdir(exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def hanging_java(folder, monkeypatch):
    """A `java` that starts a process of its own, notes both and never ends."""
    fake_java(folder, monkeypatch, f"sleep 300 &\necho $$ $! > {folder}/new; mv {folder}/new {folder}/pids\nsleep 300")
    return folder / "pids"


def alive(pids):
    """Return those of the processes that still run; one that ended but was not collected yet does not."""
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


def test_a_hanging_java_is_ended_with_all_it_started(tmp_path, monkeypatch):
    pids = hanging_java(tmp_path / "bin", monkeypatch)
    with pytest.raises(MeteorError, match="more than 2 seconds"):
        meteor(GENERATED, REFERENCES, timeout=2)
    pids = pids.read_text().split()
    assert len(pids) == 2
    assert_all_end(pids)


def test_an_interrupt_ends_java(tmp_path, monkeypatch):
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
        ("exit 3", "code 3: it said nothing"),
        ("kill -9 $$", "code -9"),
        ("echo Meteor version: 1.5", "no score.*'Meteor version: 1.5'"),
        ("echo Final score: none", "no score.*'Final score: none'"),
        ("true", "no score.*''"),
    ],
)
def test_a_failing_java_is_told(tmp_path, monkeypatch, script, sentence):
    fake_java(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(MeteorError, match=sentence):
        meteor(GENERATED, REFERENCES)


def test_a_java_that_cannot_start_is_told(tmp_path, monkeypatch):
    fake_java(tmp_path / "bin", monkeypatch, "")
    (tmp_path / "bin" / "java").write_text("#!/no/such/interpreter\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MeteorError, match="could not start"):
        meteor(GENERATED, REFERENCES)


def test_the_last_score_is_read_and_no_file_stays(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    fake_java(tmp_path / "bin", monkeypatch, "echo 'f1: 0.7'; echo 'Final score:            0.196017299323941'")
    assert meteor(GENERATED, REFERENCES) == 0.196017299323941
    assert list((tmp_path / "temporary").iterdir()) == []


def test_java_reads_one_line_a_report(tmp_path, monkeypatch):
    # the last six arguments are: generated references -l en -norm
    script = f'while [ $# -gt 5 ]; do shift; done; cp "$1" "$2" {tmp_path}; echo Final score: 0.5'
    fake_java(tmp_path / "bin", monkeypatch, script)
    generated = ["a\nb", "c\r\nd\re", "", " f ||| g||||h ", "i\u2028j\x85k\x0bl\x1cm", "né \ud800"]
    meteor(generated, ["r ||| s", "\n", "t", "u", "v", "w"])
    lines = (tmp_path / "generated").read_bytes().decode().split("\n")
    assert lines == ["a b", "c d e", "", "f g h", "i j k l m", "né ?", ""]
    assert (tmp_path / "references").read_text().split("\n") == ["r s", "", "t", "u", "v", "w", ""]


@pytest.mark.parametrize(("generated", "references"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_lists_that_do_not_fit_are_refused(generated, references):
    with pytest.raises(ValueError, match="one reference for each"):
        meteor(generated, references)


@needs_java
@pytest.mark.slow
def test_equals_the_other_mode_of_the_jar(monkeypatch):
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    keys = range(len(GENERATED))
    theirs, segments = scorer.compute_score({i: [REFERENCES[i]] for i in keys}, {i: [GENERATED[i]] for i in keys})
    assert 0.1 < theirs < 0.9
    assert abs(theirs - sum(segments) / len(segments)) > 0.01, "this text could not tell a corpus score from a mean"
    assert abs(meteor(GENERATED, REFERENCES) - theirs) < 1e-9
    # the same words, laid out so that the other mode would hang or count two references
    generated = [text.replace(" ", "\n", 1).replace(" . ", " .\r ") for text in GENERATED]
    references = [text.replace(" ", " ||| ", 1) for text in REFERENCES]
    monkeypatch.setenv("LC_ALL", "C")  # Java before 18 takes the encoding of files from the locale
    assert abs(meteor(generated, references) - theirs) < 1e-9


@needs_java
@pytest.mark.slow
def test_empty_reports_score_nothing():
    assert meteor(["", "", "the lungs are clear"], ["", "clear lungs", ""]) == 0


@needs_java
@pytest.mark.slow
def test_a_real_java_is_ended_after_the_timeout(tmp_path, monkeypatch):
    real = shutil.which("java")
    fake_java(tmp_path / "bin", monkeypatch, f'echo $$ > {tmp_path}/pid; exec "{real}" "$@"')
    with pytest.raises(MeteorError, match=r"more than 1\.5 seconds"):
        meteor(GENERATED * 200, REFERENCES * 200, timeout=1.5)
    assert_all_end((tmp_path / "pid").read_text().split())
