"""Querying and responding against loops over every row, thread and vector."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from r2cmn.memory import CrossModalMemory, MemoryNetwork, NoMemory, SeparateMemory

DIM = 8


def make(num_vectors=10, num_queried=4, num_threads=2, seed=0):
    torch.manual_seed(seed)
    network = MemoryNetwork(DIM, num_vectors, num_queried, num_threads).double().eval()
    nn.init.normal_(network.matrix)  # as started, all vectors answer nearly alike
    for linear in (network.query, network.key, network.value, network.output):
        nn.init.normal_(linear.bias)
    return network


def by_hand(network, features):
    """Eqs. 4-13, one number at a time: responses (B, L, D), weights (B, threads, L, N)."""
    num_vectors, threads = len(network.matrix), network.num_threads
    size = DIM // threads
    weights = torch.zeros(len(features), threads, features.shape[1], num_vectors, dtype=features.dtype)
    responses = torch.zeros_like(features)
    k = [network.key(m) for m in network.matrix]  # Eq. 4
    v = [network.value(m) for m in network.matrix]  # Eq. 11
    for b in range(len(features)):
        for s in range(features.shape[1]):
            q = network.query(features[b, s])  # Eq. 5, Eq. 6
            for thread in range(threads):
                part = range(thread * size, (thread + 1) * size)
                d = [float(sum(q[j] * k[i][j] for j in part)) / math.sqrt(size) for i in range(num_vectors)]  # Eq. 7, 8
                queried = sorted(range(num_vectors), key=lambda i: -d[i])[: network.num_queried]
                total = sum(math.exp(d[i]) for i in queried)
                for i in queried:
                    w = math.exp(d[i]) / total  # Eq. 9, Eq. 10
                    weights[b, thread, s, i] = w
                    for j in part:
                        responses[b, s, j] += w * float(v[i][j])  # Eq. 12, Eq. 13
            responses[b, s] = network.output(responses[b, s].clone())
    return responses, weights


CASES = {
    "usual": {"num_vectors": 10, "num_queried": 4},
    "one queried": {"num_vectors": 10, "num_queried": 1},
    "all queried": {"num_vectors": 10, "num_queried": 10},
    "one vector": {"num_vectors": 1, "num_queried": 1},
    "one thread": {"num_threads": 1},
    "a thread a dimension": {"num_threads": DIM},
}


@torch.no_grad()
@pytest.mark.parametrize("shape", [(2, 3), (1, 3), (2, 1)], ids=["usual", "one row", "one word"])
@pytest.mark.parametrize("case", CASES)
def test_equations_4_to_13(case, shape):
    network = make(**CASES[case])
    features = torch.randn(*shape, DIM, dtype=torch.float64)
    responses, weights = by_hand(network, features)
    torch.testing.assert_close(network(features), responses)
    torch.testing.assert_close(network.weights(features), weights)


@torch.no_grad()
def test_weights_are_a_distribution_over_the_queried():
    weights = make(num_queried=3).weights(torch.randn(2, 5, DIM, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5, dtype=torch.float64))
    assert ((weights > 0).sum(-1) == 3).all()


@torch.no_grad()
def test_the_order_of_the_vectors_does_not_matter():
    network = make()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    before = network(features)
    network.matrix.copy_(network.matrix[torch.randperm(10)])
    torch.testing.assert_close(network(features), before)


@torch.no_grad()
def test_querying_all_is_attention_over_the_matrix():
    network = make(num_queried=10)
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    attention = nn.MultiheadAttention(DIM, 2, batch_first=True).double()
    maps = (network.query, network.key, network.value)
    attention.in_proj_weight.copy_(torch.cat([linear.weight for linear in maps]))
    attention.in_proj_bias.copy_(torch.cat([linear.bias for linear in maps]))
    attention.out_proj.load_state_dict(network.output.state_dict())
    read = network.matrix.expand(2, -1, -1)
    torch.testing.assert_close(network(features), attention(features, read, read, need_weights=False)[0])


def test_gradients_are_those_of_the_loop_free_definition():
    network = make()
    features = torch.randn(1, 2, DIM, dtype=torch.float64, requires_grad=True)
    parameters = (features, *network.parameters())
    assert torch.autograd.gradcheck(lambda *_: network(features), parameters)


def test_dropout_acts_in_training_only():
    network = make()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    assert torch.equal(network(features), network(features))
    network.train()
    assert not torch.equal(network(features), network(features))


def count_projections(network):
    rows = []
    network.key.register_forward_hook(lambda module, inputs, output: rows.append(inputs[0].shape))
    return rows


def test_the_matrix_is_projected_once_a_forward_not_once_a_study():
    network = make().train()
    rows = count_projections(network)
    network(torch.randn(16, 3, DIM, dtype=torch.float64)).sum().backward()
    assert rows == [(10, DIM)]


def test_projections_are_kept_while_nothing_is_learned():
    network = make()
    rows = count_projections(network)
    word = torch.randn(2, 1, DIM, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(5):
            network(word)
    assert len(rows) == 1
    network(word)  # with gradients nothing kept is used: it would have none
    assert len(rows) == 2
    network(word).sum().backward()
    assert network.key.weight.grad is not None


def sgd(network):
    _optimize(network, torch.optim.SGD(network.parameters(), lr=0.1))


def adam(network):
    _optimize(network, torch.optim.Adam(network.parameters(), lr=0.1, amsgrad=True))


def adam_fused(network):
    _optimize(network, torch.optim.Adam(network.parameters(), lr=0.1, fused=True))


def adam_in_a_loop(network):
    _optimize(network, torch.optim.Adam(network.parameters(), lr=0.1, foreach=False))


def _optimize(network, optimizer):
    with torch.enable_grad():
        network(torch.ones(1, 1, DIM, dtype=torch.float64)).square().sum().backward()
    optimizer.step()


def load_state_dict(network):
    network.load_state_dict({name: value + 1 for name, value in network.state_dict().items()})


def load_state_dict_by_assignment(network):
    network.load_state_dict({name: value + 1 for name, value in network.state_dict().items()}, assign=True)


def new_data(network):
    network.value.weight.data = network.value.weight.data * 2


def data_in_place_between_modes(network):
    network.train()
    network.value.weight.data.mul_(2)  # as averaging of weights does: no new version
    network.eval()


def there_and_back(network):
    network.value.weight.data.mul_(2)
    network.float().double()


CHANGES = [
    sgd,
    adam,
    adam_fused,
    adam_in_a_loop,
    load_state_dict,
    load_state_dict_by_assignment,
    new_data,
    data_in_place_between_modes,
    there_and_back,
]


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_kept_is_forgotten_when_a_parameter_changes(change):
    network = make()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    before = network(features)
    change(network)
    fresh = make(seed=1)
    fresh.load_state_dict(network.state_dict())
    after = network(features)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, fresh(features), rtol=0, atol=0)


@torch.no_grad()
def test_what_was_kept_is_not_used_in_another_precision():
    network = make().float()
    features = torch.randn(2, 3, DIM)
    exact = network(features)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(features)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(network(features), exact, rtol=0, atol=0)


@torch.no_grad()
def test_inference_mode_does_not_poison_what_follows():
    network = make()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    with torch.inference_mode():
        network(features)
    with torch.enable_grad():
        network(features).sum().backward()
    assert network.matrix.grad.abs().sum() > 0
    with torch.inference_mode():
        born_there = make()
        torch.testing.assert_close(born_there(features), network(features))


@torch.no_grad()
def test_copies_share_nothing_kept():
    network = make()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    before = network(features)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        twin.matrix.mul_(2)
        assert not torch.allclose(twin(features), before)
    assert torch.equal(network(features), before)


@torch.no_grad()
def test_bfloat16_does_not_drown_the_scores_in_the_bias_of_the_keys():
    """The bias adds the same to all scores of a row, so that it changes nothing, if they are exact enough."""
    torch.manual_seed(0)
    network = MemoryNetwork(64, 256, 8, 4).eval()
    features = torch.randn(2, 5, 64)
    nn.init.zeros_(network.key.bias)
    with torch.autocast("cpu", torch.bfloat16):
        without = network.weights(features)
        nn.init.normal_(network.key.bias)
        torch.testing.assert_close(network.weights(features), without, atol=1e-4, rtol=1e-3)


def test_bfloat16_is_near_float32_and_learns():
    torch.manual_seed(0)
    network = MemoryNetwork(64, 32, 32, 4, dropout=0.0)
    features = torch.randn(2, 5, 64)
    exact = network(features)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(features)
    torch.testing.assert_close(rounded.float(), exact, atol=0.02, rtol=0.05)
    rounded.float().square().sum().backward()
    assert network.matrix.grad.isfinite().all()
    assert network.matrix.grad.abs().sum() > 0


def test_the_start_is_the_released_one():
    network = MemoryNetwork(512, 256, 32, 8)
    assert network.matrix.std().item() == pytest.approx(1 / 512, rel=0.02)
    assert network.matrix.mean().item() == pytest.approx(0, abs=1e-4)
    for linear in (network.query, network.key, network.value, network.output):
        assert linear.weight.abs().max().item() == pytest.approx((6 / 1024) ** 0.5, rel=0.01)  # Xavier


@pytest.mark.parametrize("cls", [MemoryNetwork, SeparateMemory, CrossModalMemory])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_vectors": 4, "num_queried": 5}, r"memory.num_queried .*memory.num_vectors \(4\), not 5"),
        ({"num_queried": 0}, "memory.num_queried .* not 0"),
        ({"num_vectors": 0, "num_queried": 1}, "memory.num_vectors .* not 0"),
        ({"num_threads": 3}, r"memory.num_threads .*dim \(8\), not 3"),
        ({"num_threads": 0}, "memory.num_threads .* not 0"),
    ],
)
def test_what_cannot_be_is_refused(cls, options, named):
    with pytest.raises(ValueError, match=named):
        cls(DIM, **{"num_vectors": 10, "num_queried": 4, "num_threads": 2, **options})


def test_no_memory_has_nothing_to_set():
    features = torch.randn(2, 3, DIM)
    assert NoMemory().visual(features) is features
    assert NoMemory().textual(features) is features
    assert not list(NoMemory().parameters())
    with pytest.raises(TypeError, match="num_vectors"):
        NoMemory(num_vectors=2048)


@torch.no_grad()
@pytest.mark.parametrize("residual", [True, False])
def test_the_response_joins_the_feature_or_replaces_it(residual):
    memory = CrossModalMemory(DIM, 10, 4, 2, residual=residual).double().eval()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    responses, _ = by_hand(memory.network, features)
    expected = features + responses if residual else responses
    torch.testing.assert_close(memory.visual(features), expected)
    torch.testing.assert_close(memory.textual(features), expected)


@torch.no_grad()
@pytest.mark.parametrize("residual", [True, False])
def test_separate_memories_with_equal_parameters_are_the_shared_one(residual):
    shared = CrossModalMemory(DIM, 10, 4, 2, residual=residual).double().eval()
    separate = SeparateMemory(DIM, 10, 4, 2, residual=residual).double().eval()
    features = torch.randn(2, 3, DIM, dtype=torch.float64)
    separate.visual_network.load_state_dict(shared.network.state_dict())
    assert torch.equal(separate.visual(features), shared.visual(features))
    assert not torch.allclose(separate.textual(features), shared.textual(features))
    separate.textual_network.load_state_dict(shared.network.state_dict())
    assert torch.equal(separate.textual(features), shared.textual(features))
