"""Greedy search and sampling on random tables of log-probabilities."""

import math

import pytest
import torch

from r2cmn.generation import Greedy, Sample


def draw_tables(seed, num_studies=4, num_columns=6):
    """Return p(next | last) as log-probabilities (B, W, W), float64."""
    generator = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(num_studies, num_columns, num_columns, generator=generator).double()).log_softmax(-1)


def toy_step(tokens, state):
    return state["table"][torch.arange(len(tokens)), tokens], state


def words_left(log_p, temperature, top_k, top_p):
    """Return {word: probability} after temperature and both cuts, word by word."""
    p = [math.exp(x / temperature) for x in log_p]
    ranked = sorted(range(len(p)), key=lambda w: -p[w])[: top_k or len(p)]
    mass, left = 0.0, []
    for word in ranked:
        if mass >= top_p * sum(p[w] for w in ranked):
            break
        left.append(word)
        mass += p[word]
    return {word: p[word] / mass for word in left}


def test_greedy_writes_the_likeliest_word_until_zero():
    for seed in range(10):
        tables = draw_tables(seed)
        found = Greedy(7)(toy_step, {"table": tables})
        for study, table in enumerate(tables):
            words, score, last = [], 0.0, 0
            while len(words) < 7:
                row = table[last].tolist()
                last = row.index(max(row))
                words.append(last)
                score += row[last]
                if last == 0:
                    break
            assert found.tokens[study].tolist() == words + [0] * (7 - len(words)), f"seed {seed}"
            assert found.scores[study].item() == pytest.approx(score, abs=1e-9)


def test_ended_reports_leave_the_batch():
    tables = torch.full((2, 3, 3), -20.0)
    tables[0, :, 0] = 0.0
    tables[1, :, 1] = 0.0
    sizes = []

    def counting_step(tokens, state):
        sizes.append(len(tokens))
        return toy_step(tokens, state)

    assert Greedy(4)(counting_step, {"table": tables}).tokens.tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert sizes == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, None, 1.0), (0.6, 3, 1.0), (1.7, None, 0.8), (1.3, 4, 0.7)]
)
def test_draws_follow_the_distribution_that_is_left(temperature, top_k, top_p):
    sample = Sample(temperature=temperature, top_k=top_k, top_p=top_p)
    num_draws = 20_000
    uniform = (torch.arange(num_draws) + 0.5) / num_draws  # every part of [0, 1) alike: no luck involved
    for seed in range(5):
        log_p = draw_tables(seed)[0, 0]
        counts = torch.bincount(sample.draw(log_p.expand(num_draws, -1), uniform), minlength=6) / num_draws
        expected = words_left(log_p.tolist(), temperature, top_k, top_p)
        for word in range(6):
            assert counts[word].item() == pytest.approx(expected.get(word, 0.0), abs=2 / num_draws), f"seed {seed}"


def test_a_draw_at_the_edge_takes_a_word_that_is_left():
    for seed in range(50):
        log_p = draw_tables(seed)[0, :1].float()
        log_p[:, 2] = -torch.inf
        for top_k, top_p in ((None, 1.0), (2, 1.0), (None, 0.5)):
            left = words_left(log_p[0].tolist(), 1.0, top_k, top_p)
            for uniform in (0.0, 1.0 - 2**-24, 1.0):  # a number just below 1 may be rounded to 1
                word = Sample(top_k=top_k, top_p=top_p).draw(log_p, torch.tensor([uniform])).item()
                assert word in left, f"seed {seed}"
                assert word != 2


def test_the_first_word_alone_is_greedy():
    tables = draw_tables(5)
    greedy = Greedy(6)(toy_step, {"table": tables})
    for sample in (Sample(6, top_k=1), Sample(6, top_p=1e-6), Sample(6, temperature=1e-3)):
        found = sample(toy_step, {"table": tables})
        assert torch.equal(found.tokens, greedy.tokens)
        torch.testing.assert_close(found.scores, greedy.scores)


def test_scores_are_of_the_untempered_model():
    tables = draw_tables(1)
    found = Sample(6, temperature=0.5, top_k=3, seed=2)(toy_step, {"table": tables})
    for study, table in enumerate(tables):
        score, last = 0.0, 0
        for word in found.tokens[study].tolist():
            score += table[last, word].item()
            last = word
            if word == 0:
                break
        assert found.scores[study].item() == pytest.approx(score, abs=1e-9)


def test_a_seed_repeats_a_call_and_none_does_not():
    state = {"table": draw_tables(0, num_studies=8)}
    first, again = Sample(9, seed=3)(toy_step, state), Sample(9, seed=3)(toy_step, state)
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, Sample(9, seed=4)(toy_step, state).tokens)
    free = Sample(9)
    assert not torch.equal(free(toy_step, state).tokens, free(toy_step, state).tokens)


def test_a_report_does_not_depend_on_how_many_follow_nor_on_how_long_the_others_are():
    tables = draw_tables(0, num_studies=6)
    tables[..., 0] = -20.0  # study 0 never ends, so it stays before the others
    found = Sample(9, seed=3)(toy_step, {"table": tables})
    few = Sample(9, seed=3)(toy_step, {"table": tables[:3]})
    assert torch.equal(few.tokens, found.tokens[:3])
    assert torch.equal(few.scores, found.scores[:3])
    ending = tables.clone()
    ending[0, :, 0] = 20.0  # it ends at once and leaves
    ended = Sample(9, seed=3)(toy_step, {"table": ending})
    assert ended.tokens[0].tolist() == [0] * 9
    assert torch.equal(ended.tokens[1:], found.tokens[1:])


def test_the_words_of_a_report_are_drawn_independently():
    tables = torch.tensor([0.0, 0.25, 0.25, 0.25, 0.25]).log().expand(2000, 5, 5)
    tokens = Sample(3, seed=0)(toy_step, {"table": tables}).tokens
    for a, b in ((0, 1), (0, 2), (1, 2)):  # 500 expected, with a standard deviation of 19
        assert 400 < (tokens[:, a] == tokens[:, b]).sum() < 600
    assert 400 < (tokens[:-1, 0] == tokens[1:, 0]).sum() < 600


def test_scores_carry_gradients_outside_inference_mode():
    tables = draw_tables(0).requires_grad_()
    Sample(5, seed=0)(toy_step, {"table": tables}).scores.sum().backward()
    assert (tables.grad != 0).any()


def test_an_empty_batch():
    assert Sample(5)(toy_step, {"table": draw_tables(0)[:0]}).tokens.shape == (0, 5)


@pytest.mark.parametrize(
    ("key", "value"), [("max_length", 0), ("temperature", 0), ("top_k", 0), ("top_p", 0.0), ("top_p", 1.5)]
)
def test_an_impossible_value_is_named(key, value):
    with pytest.raises(ValueError, match=rf"generation\.{key}"):
        Sample(**{key: value})


def test_greedy_names_an_impossible_length():
    with pytest.raises(ValueError, match=r"generation\.max_length"):
        Greedy(0)


def test_a_diverged_model_is_sampled_as_the_searches_read_it():
    log_p = torch.full((2, 7), math.nan)
    assert Sample(3).draw(log_p, torch.tensor([0.2, 0.9])).max() < 7
