"""Rows of plain states: copied if a row may have changed, kept if none has."""

import torch

from r2cmn.generation.reorder import Reorder


def test_what_no_step_touches_is_copied_only_when_a_study_leaves():
    reorder = Reorder()
    following = {"patches": torch.arange(2.0), "last": torch.tensor([5, 6])}
    state = reorder(following, torch.tensor([[0, 0], [1, 1]]))
    assert state["patches"].tolist() == [0, 0, 1, 1]
    following = {"patches": state["patches"], "last": torch.tensor([1, 2, 3, 4])}
    reorder.compare(state, following)
    state = reorder(following, torch.tensor([[1, 0], [2, 2]]))
    assert state["patches"] is following["patches"]
    assert state["last"].tolist() == [2, 1, 3, 3]
    following = {"patches": state["patches"], "last": state["last"]}
    reorder.compare(state, following)
    state = reorder(following, torch.tensor([[3, 2]]))
    assert state["patches"].tolist() == [1, 1]


def test_what_a_step_has_touched_once_is_copied_ever_after():
    reorder = Reorder()
    state = reorder({"patches": torch.arange(2.0)}, torch.tensor([[0], [1]]))
    following = {"patches": state["patches"] + 1}
    reorder.compare(state, following)
    state = reorder(following, torch.tensor([[0], [1]]))
    reorder.compare(state, state)
    assert reorder(state, torch.tensor([[0], [1]]))["patches"] is not state["patches"]
