"""A part that is described on the command line replaces the default's keys; single values are still merged."""

import pytest

from r2cmn import compose
from r2cmn.groups import ConfigError
from r2cmn.overrides import replace_groups
from r2cmn.runs.labels import run_name

BANK = "{_target_: mine.Bank, size: 4}"


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_a_described_part_has_no_key_of_the_default(sign):
    assert dict(compose([f"{sign}memory={BANK}"]).memory) == {"_target_": "mine.Bank", "size": 4}


def test_it_also_replaces_the_choice_of_a_system_and_takes_further_values():
    config = compose(["model=base", f"memory={BANK}", "memory.size=5", "dim=32"])
    assert config.memory == {"_target_": "mine.Bank", "size": 5}
    assert compose(["memory={_target_: mine.Bank, dim: '${dim}'}", "dim=32"]).memory.dim == 32


def test_a_value_of_the_default_is_merged_as_before():
    memory = compose(["memory.num_vectors=64"]).memory
    assert (memory._target_, memory.num_vectors) == ("r2cmn.memory.CrossModalMemory", 64)
    with pytest.raises(ConfigError, match=r"memory\.size"):
        compose(["memory.size=4"])


def test_overrides_are_rewritten_once_and_others_left():
    once = replace_groups([f"memory={BANK}", "dim=8"])
    assert once == ["~memory", f"+memory={BANK}", "dim=8"]
    assert replace_groups(once) == once
    sweep = f"memory={BANK},{{_target_: mine.Bank, size: 8}}"
    assert replace_groups([sweep]) == ["~memory", f"+{sweep}"]
    kept = [f"memory=none,{BANK}", f"callbacks={BANK}", "memory={_target_: [", "memory._target_=mine.Bank", "~memory"]
    assert replace_groups(kept) == kept


def test_the_name_of_a_run_has_the_part_once():
    assert run_name(replace_groups([f"memory={BANK}", "dim=8"])) == f"memory={BANK} dim=8"
    assert run_name(["~memory"]) == "~memory"
