"""Use of a memory's vectors against loops over every row, thread and vector."""

import itertools
import math

import pytest
import torch

from r2cmn.explain import VectorUse
from r2cmn.memory import MemoryNetwork

DIM = 8


def make(num_vectors=10, num_queried=3, num_threads=2):
    network = MemoryNetwork(DIM, num_vectors, num_queried, num_threads).eval()
    torch.nn.init.normal_(network.matrix)  # as started, all vectors answer nearly alike
    return network


def sums_by_hand(network, features, counted):
    """Weight and times of every vector, [thread][vector]."""
    weights = network.weights(features).double()
    threads, num_vectors = weights.shape[1], weights.shape[3]
    weight = [[0.0] * num_vectors for _ in range(threads)]
    times = [[0] * num_vectors for _ in range(threads)]
    for b, t, s, n in itertools.product(*map(range, weights.shape)):
        often = int(counted[b][s])
        weight[t][n] += float(weights[b, t, s, n]) * often
        times[t][n] += often if weights[b, t, s, n] > 0 else 0
    return weight, times


def numbers_by_hand(patches, words):
    """What is said of one thread: patches and words are (weight, times) of every vector."""
    found, uses, queried = {}, {}, {}
    for side, (weight, times) in (("patches", patches), ("words", words)):
        queried[side] = {n for n, often in enumerate(times) if often}
        uses[side] = [w / sum(weight) for w in weight]
        found[f"share_{side}"] = len(queried[side]) / len(times)
        found[f"entropy_{side}"] = -sum(p * math.log(p) for p in uses[side] if p > 0) / math.log(len(times))
    found["overlap"] = sum(math.sqrt(p * q) for p, q in zip(uses["patches"], uses["words"], strict=True))
    both, either = queried["patches"] & queried["words"], queried["patches"] | queried["words"]
    found["overlap_queried"] = len(both) / len(either)
    return found


@torch.no_grad()
@pytest.mark.parametrize(("num_queried", "num_threads"), [(3, 2), (1, 1), (10, 4)])
def test_the_numbers_are_those_of_loops(num_queried, num_threads):
    network = make(num_queried=num_queried, num_threads=num_threads)
    patches, words = torch.randn(3, 4, DIM), torch.randn(3, 5, DIM)
    is_word = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [2, 1, 1, 1, 1]])
    use = VectorUse(num_threads, 10)
    use.update(network.queried(patches[:1]), network.queried(words[:2]), words_counted=is_word[:2].flatten())
    use.update(words=network.queried(words[2:]), words_counted=is_word[2:].flatten())
    use.update(patches=network.queried(patches[1:]))
    found = use.compute()
    sides = [sums_by_hand(network, patches, torch.ones(3, 4)), sums_by_hand(network, words, is_word)]
    threads = [numbers_by_hand(*((weight[t], times[t]) for weight, times in sides)) for t in range(num_threads)]
    together = numbers_by_hand(*(tuple(torch.tensor(part).sum(0).tolist() for part in side) for side in sides))
    for t, expected in enumerate(threads):
        for name, value in expected.items():
            assert found[f"thread_{t}/{name}"] == pytest.approx(value, abs=1e-6), name
    for name in ("share_patches", "share_words", "entropy_patches", "entropy_words"):
        assert found[name] == pytest.approx(together[name], abs=1e-6)
    for name in ("overlap", "overlap_queried"):
        assert found[name] == pytest.approx(sum(thread[name] for thread in threads) / num_threads, abs=1e-6)
    if num_queried == 10:
        assert found["share_patches"] == found["share_words"] == found["overlap_queried"] == 1
        assert found["overlap_queried_chance"] == pytest.approx(1)
        assert 0 < found["entropy_words"] < 1


@torch.no_grad()
def test_chance_is_the_mean_over_every_numbering_of_the_vectors():
    network = make(num_vectors=5, num_queried=2, num_threads=1)
    patches, words = network.queried(torch.randn(1, 2, DIM)), network.queried(torch.randn(1, 1, DIM))
    use = VectorUse(1, 5)
    use.update(patches, words)
    found = use.compute()
    overlaps, queried = [], []
    for numbering in itertools.permutations(range(5)):
        other = VectorUse(1, 5)
        other.update(patches, words._replace(vectors=torch.tensor(numbering)[words.vectors]))
        each = other.compute()
        overlaps.append(each["overlap"])
        queried.append(each["overlap_queried"])
    assert found["overlap_chance"] == pytest.approx(sum(overlaps) / 120)
    assert found["overlap_queried_chance"] == pytest.approx(sum(queried) / 120)
    assert len(set(overlaps)) > 5


def queried_of(network, numbers):
    """What would query these vectors evenly, in every thread."""
    from r2cmn.kernels.topk import Queried

    vectors = torch.tensor(numbers).expand(network.num_threads, 1, -1)
    return Queried(torch.full(vectors.shape, 1 / len(numbers)), vectors)


def test_overlap_is_one_for_the_same_use_and_none_for_disjoint_use():
    network = make()
    for numbers, overlap, chance in (([0, 1, 2], 1, 0.3), ([3, 4, 5], 0, 0.3), ([1, 2, 3], 2 / 3, 0.3)):
        use = VectorUse(2, 10)
        use.update(queried_of(network, [0, 1, 2]), queried_of(network, numbers))
        found = use.compute()
        assert found["overlap"] == pytest.approx(overlap, abs=1e-6)
        assert found["overlap_chance"] == pytest.approx(chance, abs=1e-6)


def test_even_use_has_entropy_one_and_a_single_vector_none():
    network = make()
    use = VectorUse(2, 10)
    use.update(queried_of(network, list(range(10))), queried_of(network, [4]))
    found = use.compute()
    assert found["entropy_patches"] == pytest.approx(1)
    assert found["entropy_words"] == 0
    assert (found["share_patches"], found["share_words"]) == (1, 0.1)


@torch.no_grad()
def test_a_single_vector_is_used_by_all():
    network = make(num_vectors=1, num_queried=1)
    use = VectorUse(2, 1)
    use.update(network.queried(torch.randn(2, 3, DIM)), network.queried(torch.randn(2, 3, DIM)))
    found = use.compute()
    assert set(found.values()) == {1.0}
    assert len(found) == 3 * 8


@torch.no_grad()
def test_what_was_not_counted_is_no_number():
    network = make()
    use = VectorUse(2, 10)
    use.update(network.queried(torch.randn(2, 3, DIM)), network.queried(torch.randn(1, 2, DIM)), None, torch.zeros(2))
    found = use.compute()
    assert found["share_patches"] > 0
    for name in ("share_words", "entropy_words", "overlap", "overlap_chance"):
        assert math.isnan(found[name])


@torch.no_grad()
def test_memories_of_their_own_have_no_overlap():
    network = make()
    use = VectorUse(2, 10, shared=False)
    use.update(network.queried(torch.randn(2, 3, DIM)), network.queried(torch.randn(1, 2, DIM)))
    names = {name.rpartition("/")[2] for name in use.compute()}
    assert names == {"share_patches", "share_words", "entropy_patches", "entropy_words"}


@torch.no_grad()
def test_sums_of_parts_are_the_whole():
    network = make()
    patches, words = torch.randn(4, 3, DIM), torch.randn(4, 2, DIM)
    whole, first, second = (VectorUse(2, 10) for _ in range(3))
    whole.update(network.queried(patches), network.queried(words))
    for use, part in ((first, slice(1)), (second, slice(1, None))):
        use.update(network.queried(patches[part]), network.queried(words[part]))
    sums = []
    second.reduce(lambda value: sums.append(value) or value)
    others = iter(sums)
    first.reduce(lambda value: value + next(others))
    assert first.compute() == pytest.approx(whole.compute(), abs=1e-7)
