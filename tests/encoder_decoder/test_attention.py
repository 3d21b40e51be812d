import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.attention import MultiHeadAttention


def make(dropout=0.1):
    return MultiHeadAttention(8, 2, dropout).double().eval()


@torch.no_grad()
def test_it_is_torchs_multi_head_attention():
    ours = make()
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).double()
    maps = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([linear.weight for linear in maps]))
    theirs.in_proj_bias.copy_(torch.cat([linear.bias for linear in maps]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    asking, read = torch.randn(3, 4, 8, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    allowed = torch.rand(3, 1, 4, 5) > 0.4
    allowed[..., 0] = True
    answer = ours(asking, *ours.project(read), allowed)
    forbidden = ~allowed.expand(3, 2, 4, 5).reshape(6, 4, 5)
    torch.testing.assert_close(answer, theirs(asking, read, read, attn_mask=forbidden, need_weights=False)[0])
    torch.testing.assert_close(ours(asking, *ours.project(read)), theirs(asking, read, read, need_weights=False)[0])


def test_dropout_acts_in_training_only():
    attention = make(dropout=0.5)
    rows = torch.randn(2, 6, 8, dtype=torch.float64)
    assert torch.equal(attention(rows, *attention.project(rows)), attention(rows, *attention.project(rows)))
    attention.train()
    assert not torch.equal(attention(rows, *attention.project(rows)), attention(rows, *attention.project(rows)))


@pytest.mark.parametrize("num_heads", [0, 3])
def test_heads_that_do_not_divide_are_refused(num_heads):
    with pytest.raises(ValueError, match=rf"encoder_decoder.num_heads must be a divisor of dim \(8\), not {num_heads}"):
        MultiHeadAttention(8, num_heads)
