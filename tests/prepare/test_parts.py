import json
import random
from dataclasses import replace

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.parts import Part, Shard, contradiction, missing_parts, read_parts, write_part


def part(number, of, **choices):
    origin = {"version": "2.1.0", "choices": {"target": "findings", **choices}}
    entries = [(number, {"id": str(number)}, [{"image": "a"}])]
    return Part(Shard(number, of), origin, {"images": "/raw"}, entries, {"kept|images": 1}, {}, [])


def test_shares_are_disjoint_alike_in_size_and_whole():
    seed = 5
    print("seed", seed)
    draw = random.Random(seed)
    for _ in range(50):
        numbers = [draw.randrange(1000) for _ in range(draw.randrange(1, 60))]
        of = draw.randrange(1, 9)
        shares = [Shard(number, of).mine(numbers) for number in range(1, of + 1)]
        assert sorted(number for share in shares for number in share) == sorted(set(numbers))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_reading_a_share():
    assert Shard.parse("3/8") == Shard(3, 8)
    assert Shard.parse(" 1 / 1 ") == Shard()
    for text in ("0/8", "9/8", "1/0"):
        with pytest.raises(ValueError, match="--shard is"):
            Shard.parse(text)
    for text in ("3", "3/8/1", "a/b", "-1/8", ""):
        with pytest.raises(ValueError, match="write 1/8 for the first of 8"):
            Shard.parse(text)


def test_parts_come_back_as_they_were_written(tmp_path):
    for number in (2, 1, 3):
        assert missing_parts(tmp_path, 3) != []
        write_part(tmp_path, part(number, 3))
    assert read_parts(tmp_path) == read_parts(tmp_path, 3) == [part(number, 3) for number in (1, 2, 3)]
    assert (tmp_path / "part-1-of-3.json").stat().st_mode & 0o777 == 0o600


def test_parts_that_are_missing_are_named(tmp_path):
    write_part(tmp_path, part(2, 12))
    with pytest.raises(RawError, match=r"parts are missing: give --shard 1/12, 3/12, .*, 11/12, and others$"):
        read_parts(tmp_path)


def test_a_whole_set_beside_an_unfinished_one(tmp_path):
    write_part(tmp_path, part(1, 2))
    write_part(tmp_path, part(1, 1))
    assert read_parts(tmp_path) == [part(1, 1)]
    write_part(tmp_path, part(2, 2))
    with pytest.raises(RawError, match="holds whole sets of parts of 1 and of 2: remove those"):
        read_parts(tmp_path)
    assert read_parts(tmp_path, 2) == [part(1, 2), part(2, 2)]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"shard": [1, 2]}', json.dumps({"shard": [1, 2], "entries": [[1]]})]
)
def test_a_damaged_part(tmp_path, content):
    write_part(tmp_path, part(2, 2))
    (tmp_path / "part-1-of-2.json").write_text(content)
    with pytest.raises(RawError, match=r"part-1-of-2.json is damaged: remove it"):
        read_parts(tmp_path)


def test_parts_that_do_not_fit_together():
    assert contradiction([part(1, 2), part(2, 2)]) is None
    assert contradiction([part(1, 2), replace(part(2, 2), source={"images": "/other"})]) is None
    other = replace(part(2, 2), origin={**part(2, 2).origin, "version": "2.0.0"})
    assert "with version 2.0.0 and part 1 with 2.1.0" in contradiction([part(1, 2), other])
    reason = contradiction([part(1, 2), part(2, 2, target="impression")])
    assert reason == (
        "part 2 of 2 was made with target impression and part 1 with findings: "
        "give --shard 2/2 again with the same choices"
    )
