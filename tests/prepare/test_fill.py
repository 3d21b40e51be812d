import io
import threading

import numpy as np
import pytest
from PIL import Image

from r2cmn.prepare import fill as module
from r2cmn.prepare.archives import RawError, RawFile
from r2cmn.prepare.fill import Picture, fill
from r2cmn.prepare.images import Rendering
from r2cmn.prepare.write import DataFolder


def content(number, size=20):
    file = io.BytesIO()
    Image.fromarray(np.full((size, size), number, dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def pictures(number, read=content, path=None):
    return [Picture(f"s{n}", f"s{n}/0.png", RawFile(f"raw/{n}.png", lambda n=n: read(n), path), "frontal")
            for n in range(number)]  # fmt: skip


def test_all_pictures_arrive_under_their_names(tmp_path):
    folder = DataFolder(tmp_path, {})
    assert fill(folder, iter(pictures(25)), Rendering(side=8), 25) == {}
    assert len(folder.rows) == 25
    for number in range(25):
        image = np.asarray(Image.open(tmp_path / f"images/s{number}/0.png"))
        assert image.shape == (8, 8)
        assert (image == number).all()
        row = folder.rows[f"s{number}/0.png"]
        assert (row.study, row.source, row.view, row.width) == (f"s{number}", f"raw/{number}.png", "frontal", 8)
        assert row.steps == "20 x 20 to 8 x 8"


def test_a_bad_picture_does_not_stop_the_others(tmp_path):
    def read(number):
        if number == 3:
            raise PermissionError(13, "Permission denied", "3.png")
        return b"" if number == 4 else content(number)

    folder = DataFolder(tmp_path, {})
    faults = fill(folder, pictures(8, read, path=tmp_path), Rendering(), 8)
    assert faults == {"s3/0.png": "raw/3.png: Permission denied", "s4/0.png": "raw/4.png is empty"}
    assert len(folder.rows) == 6


def test_what_is_done_is_not_read_again(tmp_path):
    def stop(number):
        if number == 5:
            raise KeyboardInterrupt
        return content(number)

    with pytest.raises(KeyboardInterrupt):
        fill(DataFolder(tmp_path, {}), pictures(9, stop), Rendering(), 9)
    read = []
    folder = DataFolder(tmp_path, {})
    before = set(folder.rows)
    fill(folder, pictures(9, lambda n: read.append(n) or content(n)), Rendering(), 9)
    assert {f"s{n}/0.png" for n in read} | before == {f"s{n}/0.png" for n in range(9)}
    assert {f"s{n}/0.png" for n in read} & before == set()
    assert len(folder.rows) == 9


def test_pictures_are_rendered_side_by_side_and_few_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    together = threading.Barrier(2, timeout=20)
    running, most = [0], [0]
    render = module.render

    def rendered_together(*arguments):
        together.wait()  # raises where a second thread never comes
        return render(*arguments)

    def read(number):
        running[0] += 1
        most[0] = max(most[0], running[0])
        return content(number)

    add = DataFolder.add
    monkeypatch.setattr(module, "render", rendered_together)
    monkeypatch.setattr(DataFolder, "add", lambda self, *a: running.__setitem__(0, running[0] - 1) or add(self, *a))
    assert fill(DataFolder(tmp_path, {}), pictures(20, read), Rendering(), 20) == {}
    assert most[0] <= 5


def test_links_lead_to_the_original(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(content(7))
    folder = DataFolder(tmp_path / "out", {})
    fill(folder, pictures(1, lambda _: source.read_bytes(), path=source), Rendering("link", side=0), 1)
    assert (tmp_path / "out/images/s0/0.png").resolve() == source
    with pytest.raises(RawError, match="--save link needs images on the disk"):
        fill(DataFolder(tmp_path / "two", {}), pictures(1), Rendering("link", side=0), 1)
