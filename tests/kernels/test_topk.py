"""Both formulations of scoring and responding against loops, forward and backward, whichever would be picked."""

import pytest
import torch

from r2cmn.kernels import topk as queried
from r2cmn.kernels.topk import dense_respond, dense_score, respond, score, sparse_respond, sparse_score

# threads, rows, N, K, d
SHAPES = {
    "usual": (2, 5, 40, 3, 4),
    "one queried": (2, 5, 40, 1, 4),
    "all queried": (2, 5, 6, 6, 4),
    "one row": (3, 1, 20, 4, 2),
    "one vector": (2, 5, 1, 1, 4),
    "one thread of one dimension": (1, 4, 7, 2, 1),
    "more rows than vectors": (2, 30, 4, 2, 3),
}
FORMULATIONS = {"dense": (dense_score, dense_respond), "sparse": (sparse_score, sparse_respond)}


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def loop(queries, keys, values, num_queried):
    """Return the response of every thread and row, one vector after the other."""
    responses = []
    for q, k, v in zip(queries, keys, values, strict=True):
        for row in q:
            scores = [torch.dot(row, vector) for vector in k]
            best = sorted(range(len(k)), key=lambda i: -scores[i].item())[:num_queried]
            total = sum(scores[i].exp() for i in best)
            responses.append(sum(scores[i].exp() / total * v[i] for i in best))
    return torch.stack(responses).view(len(queries), -1, values.shape[2])


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def case(request):
    threads, rows, num_vectors, num_queried, size = request.param
    tensors = (draw(threads, rows, size), draw(threads, num_vectors, size), draw(threads, num_vectors, size))
    return tensors, num_queried


@pytest.mark.parametrize("name", FORMULATIONS)
def test_responses_and_gradients_are_those_of_loops(case, name):
    (queries, keys, values), num_queried = case
    scoring, responding = FORMULATIONS[name]
    kept, index = scoring(queries, keys, num_queried)
    found = responding(kept.softmax(-1), index, values)
    expected = loop(queries, keys, values, num_queried)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    toward = torch.randn_like(found)
    gradients = zip(
        torch.autograd.grad(found, (queries, keys, values), toward),
        torch.autograd.grad(expected, (queries, keys, values), toward),
        strict=True,
    )
    for ours, theirs in gradients:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("at_once", [1, 70, 10_000])
def test_how_many_scores_are_held_at_a_time_changes_nothing(monkeypatch, at_once):
    queries, keys = draw(4, 5, 3), draw(4, 40, 3)
    monkeypatch.setattr(queried, "_SCORES_AT_ONCE", at_once)
    kept, index = sparse_score(queries, keys, 2)
    expected, where = dense_score(queries, keys, 2)
    torch.testing.assert_close(kept.sort(-1).values, expected.sort(-1).values, rtol=0, atol=1e-12)
    assert torch.equal(index.sort(-1).values, where.sort(-1).values)


def test_gradcheck_of_the_sparse_formulation():
    queries, keys, values = draw(2, 3, 4), draw(2, 12, 4), draw(2, 12, 4)

    def response(queries, keys, values):
        kept, index = sparse_score(queries, keys, 3)
        return sparse_respond(kept.softmax(-1), index, values)

    assert torch.autograd.gradcheck(response, (queries, keys, values))


@pytest.mark.parametrize("learns", [(True, False, False), (False, True, False), (False, False, True)])
def test_parts_that_do_not_learn_are_left_alone(learns):
    parts = [draw(2, 3, 4).requires_grad_(learns[0]), draw(2, 40, 4).requires_grad_(learns[1])]
    values = draw(2, 40, 4).requires_grad_(learns[2])
    kept, index = sparse_score(*parts, 2)
    sparse_respond(kept.softmax(-1), index, values).sum().backward()
    assert [part.grad is not None for part in (*parts, values)] == list(learns)


@pytest.mark.parametrize(("num_vectors", "sparse"), [(64, True), (63, False)])
def test_the_sparse_formulation_is_picked_where_few_vectors_are_queried(monkeypatch, num_vectors, sparse):
    picked = []
    for name in ("dense_score", "sparse_score", "dense_respond", "sparse_respond"):
        original = getattr(queried, name)
        monkeypatch.setattr(queried, name, lambda *a, n=name, f=original: picked.append(n) or f(*a))
    kept, index = score(draw(2, 3, 4), draw(2, num_vectors, 4), 2)
    respond(kept.softmax(-1), index, draw(2, num_vectors, 4))
    formulation = "sparse" if sparse else "dense"
    assert picked[0] == f"{formulation}_score"
    assert picked[-1] == f"{formulation}_respond"


def test_no_rows_have_no_responses():
    kept, index = score(draw(2, 0, 4), draw(2, 40, 4), 2)
    assert respond(kept.softmax(-1), index, draw(2, 40, 4)).shape == (2, 0, 4)
