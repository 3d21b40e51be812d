import os
import socket
import subprocess
import sys

from r2cmn.prepare.journal import Journal, Key, place_for_unfinished, read_journals


def test_a_torn_line_costs_one_file_only(tmp_path):
    state, out = tmp_path / "state", tmp_path
    state.mkdir()
    keys = [Key(f"images/{i}.jpg", 5, i, "setting") for i in range(3)]
    with place_for_unfinished(state) as unfinished:
        journal = Journal(out, state, unfinished)
        for key in keys:
            journal.add(key, b"content", [1, "x"])
    path = next(state.glob("done-*.jsonl"))
    assert read_journals(state) == {key: (7, [1, "x"]) for key in keys}
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1])):
        path.write_bytes(whole[:-cut])
        assert set(read_journals(state)) == set(keys[:2])
    path.write_bytes(whole[:-5] + b'\n[1, 2]\n"x"\n\xff\n\n')
    assert set(read_journals(state)) == set(keys[:2])


def test_what_killed_runs_left_is_removed_but_not_what_others_write(tmp_path):
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"writing-{host}-{dead.pid}-x", f"writing-{host}-{os.getpid()}-x", "writing-elsewhere-1-x"):
        (tmp_path / name).mkdir()
    with place_for_unfinished(tmp_path) as mine:
        assert mine.stat().st_mode & 0o777 == 0o700
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {f"writing-{host}-{os.getpid()}-x", "writing-elsewhere-1-x", mine.name}
    assert not mine.exists()


def test_each_run_has_a_journal_and_the_last_record_of_a_file_counts(tmp_path):
    key = Key("images/a.jpg", 5, 7, "setting")
    for content in (b"first", b"second!"):
        journal = Journal(tmp_path, tmp_path, tmp_path)
        journal.add(key, content, [content.decode()])
        journal.close()
    assert len(list(tmp_path.glob("done-*.jsonl"))) == 2
    assert read_journals(tmp_path) == {key: (7, ["second!"])}
    assert (tmp_path / "images" / "a.jpg").read_bytes() == b"second!"
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o700


def test_a_record_after_a_torn_one_is_read(tmp_path):
    """A disk that was full for a moment tears a line; what comes after it in the same journal stands."""
    journal = Journal(tmp_path, tmp_path, tmp_path)
    keys = [Key(f"images/{i}.jpg", 5, i, "setting") for i in range(3)]
    for key in keys[:2]:
        journal.add(key, b"x", [])
    path = next(tmp_path.glob("done-*.jsonl"))
    os.truncate(path, path.stat().st_size - 4)
    journal.add(keys[2], b"x", [])
    journal.close()
    assert set(read_journals(tmp_path)) == {keys[0], keys[2]}
