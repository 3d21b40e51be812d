import torch

from r2cmn.data.rows import Rows


def test_rows_keep_shapes_values_and_type():
    tensors = [torch.arange(6, dtype=torch.int32).view(2, 3), torch.ones(1, 4, dtype=torch.int32)]
    rows = Rows.of(tensors)
    assert len(rows) == 2
    for number, expected in enumerate(tensors):
        assert torch.equal(rows[number], expected)
        assert rows[number].dtype == torch.int32
    assert all(isinstance(value, torch.Tensor) for value in vars(rows).values())


def test_an_empty_row_and_no_rows():
    assert Rows.of([torch.empty(0), torch.ones(2)])[0].shape == (0,)
    assert len(Rows.of([])) == 0
