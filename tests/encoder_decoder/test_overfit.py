"""Eight studies are learned by heart within 300 steps: loss, gradients, generation and the optimizer work together."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.m2 import M2
from r2cmn.encoder_decoder.r2gen import R2Gen
from r2cmn.generation import BeamSearch
from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

STUDIES, PATCHES, FEATURES, DIM, WORDS, LENGTH = 8, 6, 16, 64, 30, 14


def draw_batch():
    tokens = torch.zeros(STUDIES, LENGTH, dtype=torch.long)
    for study in range(STUDIES):
        length = 6 + study % 6
        tokens[study, 1 : 1 + length] = torch.randint(1, WORDS, (length,))
    return Batch(torch.arange(STUDIES), torch.randn(STUDIES, PATCHES, FEATURES), tokens)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: R2Gen(WORDS, DIM, 2, 4, 64, dropout=0, num_memory_heads=4),
        lambda: M2(WORDS, DIM, 2, 4, 128, dropout=0, num_memory=8),
    ],
    ids=["r2gen", "m2"],
)
def test_eight_studies_are_learned_by_heart(make):
    model, batch = CMN(nn.Sequential(nn.Linear(FEATURES, DIM), nn.ReLU()), NoMemory(), make()), draw_batch()
    adam = torch.optim.Adam(model.parameters(), lr=2e-3, amsgrad=True)
    for _ in range(300):
        loss = CrossEntropy()(SimpleNamespace(model=model), batch)
        if loss.item() < 0.02:
            break
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        adam.step()
    model.eval()
    with torch.no_grad():
        loss = CrossEntropy()(SimpleNamespace(model=model), batch).item()
        found = BeamSearch(3, LENGTH)(model.step, model.start(model.encode(batch.images)))
    assert loss < 0.1
    assert torch.equal(nn.functional.pad(found.tokens, (0, LENGTH - 1 - found.tokens.shape[1])), batch.tokens[:, 1:])
