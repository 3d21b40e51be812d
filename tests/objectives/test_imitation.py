"""The loss of CMAS' first stage: equal to the cross entropy with equal weights, and each weight on its tokens."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.cmas import CMAS
from r2cmn.memory import NoMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy, Imitation
from r2cmn.types import Batch

REPORTS = ["Heart enlarged. Clear lungs.", "Clear lungs.", "Effusion. No fracture. Emphysema."]


@pytest.fixture
def context():
    tokenizer = Tokenizer.build(REPORTS, threshold=1)
    cmas = CMAS(tokenizer, tokenizer.vocabulary_size, 8)
    return SimpleNamespace(model=CMN(nn.Identity(), NoMemory(), cmas).double(), tokenizer=tokenizer)


@pytest.fixture
def batch(context):
    rows = [torch.tensor(context.model.encoder_decoder.to_targets(report, context.tokenizer)) for report in REPORTS]
    rewritten = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Batch(torch.arange(3), torch.randn(3, 4, 8).double(), torch.zeros(3, 2, dtype=torch.long), None, rewritten)


def test_with_equal_weights_it_is_the_cross_entropy(context, batch):
    torch.testing.assert_close(Imitation()(context, batch), CrossEntropy()(context, batch), rtol=0, atol=1e-12)


def test_each_weight_is_of_its_agent(context, batch):
    size, sums, count = context.tokenizer.vocabulary_size, [0.0, 0.0, 0.0], 0
    log_p = context.model(batch.images, batch.rewritten[:, :-1])
    for row, tokens in zip(log_p, batch.rewritten.tolist(), strict=True):
        for t in range(1, len(tokens)):
            agent = 1 + [token for token in tokens[:t] if token >= size][-1] - size if t > 1 else 0
            planned = tokens[t] == 0 or tokens[t] >= size
            sums[0 if planned else agent] -= row[t - 1, tokens[t]]
            count += 1
            if tokens[t] == 0:
                break
    assert all(sums)
    for agent, name in enumerate(("lambda_planner", "lambda_normal", "lambda_abnormal")):
        weights = {"lambda_planner": 0.0, "lambda_normal": 0.0, "lambda_abnormal": 0.0, name: 2.5}
        torch.testing.assert_close(Imitation(**weights)(context, batch), 2.5 * sums[agent] / count, rtol=0, atol=1e-12)
