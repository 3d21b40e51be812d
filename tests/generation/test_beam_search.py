"""Beam search on random tables of log-probabilities, against one of Python lists and against all sequences."""

import itertools
import math

import pytest
import torch

from r2cmn.generation import BeamSearch, Greedy


def draw_tables(seed, num_studies=3, num_columns=5, sharpness=1.5, max_length=9):
    """Return p(next | position, before, last) as log-probabilities (B, T, W, W, W), float64.

    Without the position two orders of the same trigrams would have equal sums, and a tie has no right answer.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_studies, max_length, *[num_columns] * 3, generator=generator, dtype=torch.float64)
    return (sharpness * logits).log_softmax(-1)


def toy_state(tables):
    zeros = torch.zeros(len(tables), dtype=torch.long)
    return {"table": tables, "position": zeros, "before": zeros}


def toy_step(tokens, state):
    log_p = state["table"][torch.arange(len(tokens)), state["position"], state["before"], tokens]
    return log_p, {"table": state["table"], "position": state["position"] + 1, "before": tokens}


def row_log_p(table, words):
    """Return the log-probabilities of the word after `words` (a list without the opening 0)."""
    before, last = [0, 0, *words][-2:]
    return table[len(words), before, last].tolist()


def score_of(table, words):
    return sum(row_log_p(table, words[:t])[word] for t, word in enumerate(words))


def report_of(row):
    """Cut a padded row of tokens after its closing 0, as a list of words with that 0."""
    words = row.tolist()
    return words[: words.index(0) + 1] if 0 in words else words


def tempered(log_p, temperature):
    scaled = [x / temperature for x in log_p]
    total = math.log(sum(math.exp(x) for x in scaled))
    return [x - total for x in scaled]


def penalised(total, length, penalty):
    if penalty is None:
        return total
    return total / length if penalty == "average" else total / ((5 + length) / 6) ** penalty


def repeats(words, n):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) < len(grams)


def released_beam_search(table, num_beams, max_length, penalty=None, temperature=1.0, ngram=0):
    """Run all steps; an ended beam keeps its slot, lowered by 1000. Return (words, value), the best first."""
    beams, stored = [([], 0.0)], []
    for t in range(max_length):
        candidates = []
        for words, total in beams:
            log_p = row_log_p(table, words)
            if t > 0:
                log_p = tempered(log_p, temperature)
            for word, value in enumerate(log_p):
                # the words after a 0 are those of a dead slot
                if ngram and word and 0 not in words and repeats([*words, word], ngram):
                    continue
                candidates.append(([*words, word], total + value))
        beams = []
        for words, total in sorted(candidates, key=lambda c: -c[1])[:num_beams]:
            ends = words[-1] == 0 or t == max_length - 1
            if ends:
                stored.append((words, penalised(total, t + 1, penalty)))
            beams.append((words, total - 1000 if ends else total))
    return sorted(stored, key=lambda s: -s[1])


def all_reports(num_columns, max_length):
    for length in range(1, max_length + 1):
        for words in itertools.product(range(1, num_columns), repeat=length - 1):
            yield [*words, 0]
    yield from (list(words) for words in itertools.product(range(1, num_columns), repeat=max_length))


def assert_matches_released(seed, tables, max_length, **options):
    names = {"length_penalty": "penalty", "no_repeat_ngram": "ngram"}
    found = BeamSearch(max_length=max_length, **options)(toy_step, toy_state(tables))
    for study, table in enumerate(tables):
        oracle = {names.get(name, name): value for name, value in options.items()}
        words, value = released_beam_search(table, max_length=max_length, **oracle)[0]
        where = f"seed {seed}, study {study}, {options}, max_length {max_length}"
        assert report_of(found.tokens[study]) == words, where
        assert found.scores[study].item() == pytest.approx(value, abs=1e-9), where


@pytest.mark.parametrize("num_beams", [1, 2, 3, 7])
@pytest.mark.parametrize("penalty", [None, "average", 0.7, 2.0])
def test_answers_as_a_search_that_runs_all_steps(num_beams, penalty):
    for seed in range(40):
        tables = draw_tables(seed, num_studies=3, num_columns=5, sharpness=0.5 + seed % 4)
        assert_matches_released(seed, tables, 7, num_beams=num_beams, length_penalty=penalty)


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("penalty", [None, "average"])
def test_returns_as_many_of_the_best_reports_as_it_is_asked_for(number, penalty):
    for seed in range(20):
        tables = draw_tables(seed, num_studies=3, sharpness=0.5 + seed % 4)
        found = BeamSearch(4, 6, penalty).best(toy_step, toy_state(tables), number)
        for study, table in enumerate(tables):
            expected = released_beam_search(table, 4, 6, penalty)[:number]
            rows = slice(study * number, (study + 1) * number)
            assert [report_of(row) for row in found.tokens[rows]] == [words for words, _ in expected], f"seed {seed}"
            assert found.scores[rows].tolist() == pytest.approx([value for _, value in expected], abs=1e-9)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_temperature_counts_from_the_second_word_on(temperature):
    for seed in range(40):
        assert_matches_released(seed, draw_tables(seed), 6, num_beams=3, temperature=temperature)


@pytest.mark.parametrize("ngram", [1, 2, 3])
def test_forbids_repeated_ngrams(ngram):
    blocked = 0
    for seed in range(40):
        tables = draw_tables(seed, num_columns=4, sharpness=2.0)
        tables[..., 0] -= 3.0  # long reports, so that something repeats
        tables = tables.log_softmax(-1)
        assert_matches_released(seed, tables, 9, num_beams=3, no_repeat_ngram=ngram)
        free = BeamSearch(3, 9)(toy_step, toy_state(tables))
        found = BeamSearch(3, 9, no_repeat_ngram=ngram)(toy_step, toy_state(tables))
        for row in found.tokens:
            assert not repeats([w for w in report_of(row) if w], ngram), f"seed {seed}"
        blocked += int((free.tokens != found.tokens).any())
    assert blocked > 0  # else the test would hold without any blocking


def test_a_row_with_every_word_forbidden_ends():
    tables = draw_tables(0, num_studies=2, num_columns=3)
    tables[..., 0] = -50.0
    found = BeamSearch(2, 8, no_repeat_ngram=1)(toy_step, toy_state(tables))
    for row in found.tokens:
        assert sorted(report_of(row)[:-1]) == [1, 2]
        assert report_of(row)[-1] == 0


@pytest.mark.parametrize("penalty", [None, "average", 1.3])
def test_a_beam_as_wide_as_the_search_space_finds_the_optimum(penalty):
    for seed in range(4):
        tables = draw_tables(seed, num_columns=4)
        found = BeamSearch(3**5 * 4, 5, penalty)(toy_step, toy_state(tables))
        for study, table in enumerate(tables):
            values = {tuple(r): penalised(score_of(table, r), len(r), penalty) for r in all_reports(4, 5)}
            best = max(values, key=values.__getitem__)
            assert tuple(report_of(found.tokens[study])) == best, f"seed {seed}"
            assert found.scores[study].item() == pytest.approx(values[best], abs=1e-9)


def test_a_score_is_the_sum_of_its_words():
    for seed in range(20):
        tables = draw_tables(seed)
        found = BeamSearch(3, 6)(toy_step, toy_state(tables))
        for study, table in enumerate(tables):
            assert found.scores[study].item() == pytest.approx(
                score_of(table, report_of(found.tokens[study])), abs=1e-9
            )


def test_one_beam_is_greedy():
    for seed in range(20):
        tables = draw_tables(seed, num_studies=5)
        beam, greedy = BeamSearch(1, 8)(toy_step, toy_state(tables)), Greedy(8)(toy_step, toy_state(tables))
        assert torch.equal(beam.tokens, greedy.tokens), f"seed {seed}"
        torch.testing.assert_close(beam.scores, greedy.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_columns", [2, 3])
def test_more_beams_than_words(num_columns):
    for seed in range(20):
        assert_matches_released(seed, draw_tables(seed, num_columns=num_columns), 5, num_beams=6)


def test_a_report_does_not_depend_on_the_batch():
    for seed in range(10):
        tables = draw_tables(seed, num_studies=6)
        together = BeamSearch(3, 8)(toy_step, toy_state(tables))
        for study in range(6):
            alone = BeamSearch(3, 8)(toy_step, toy_state(tables[study : study + 1]))
            assert torch.equal(alone.tokens[0], together.tokens[study]), f"seed {seed}"
            assert alone.scores[0] == together.scores[study]


def test_studies_leave_the_batch_when_nothing_can_overtake_them():
    tables = draw_tables(0, num_studies=2)
    tables[0, :, 0, 0] = torch.tensor([0.9, 0.025, 0.025, 0.025, 0.025]).log()
    tables[1, ..., 0] = -100.0
    sizes = []

    def counting_step(tokens, state):
        sizes.append(len(tokens))
        return toy_step(tokens, state)

    found = BeamSearch(3, 5)(counting_step, toy_state(tables))
    assert report_of(found.tokens[0]) == [0]
    assert sizes == [2, 3, 3, 3, 3]  # the opening word once a study; study 0 is done after it


def test_states_of_a_step_follow_their_beam():
    """A value that once changed differs between beams, though later steps hand it on as it is."""
    changes_at = 2

    def step(tokens, state):
        shift = state["shift"]
        if state["position"][0] == changes_at:
            shift = tokens
        log_p, following = toy_step(tokens, state)
        return log_p.gather(1, (torch.arange(5) + shift[:, None]) % 5), {**following, "shift": shift}

    def copying_step(tokens, state):
        log_p, following = step(tokens, state)
        return log_p, {name: value.clone() for name, value in following.items()}

    for seed in range(20):
        tables = draw_tables(seed, num_studies=4)
        state = {**toy_state(tables), "shift": torch.zeros(4, dtype=torch.long)}
        found, copied = BeamSearch(3, 8)(step, state), BeamSearch(3, 8)(copying_step, state)
        assert torch.equal(found.tokens, copied.tokens), f"seed {seed}"
        assert torch.equal(found.scores, copied.scores)


def test_the_last_step_stores_what_lives():
    tables = draw_tables(0)
    found = BeamSearch(3, 1)(toy_step, toy_state(tables))
    assert found.tokens.shape == (3, 1)
    assert torch.equal(found.tokens[:, 0], tables[:, 0, 0, 0].argmax(-1))
    assert torch.equal(found.scores, tables[:, 0, 0, 0].max(-1).values)


def test_an_empty_report():
    tables = torch.full((2, 4, 4, 4, 4), -9.0, dtype=torch.float64)
    tables[..., 0] = -1e-4
    found = BeamSearch(3, 4)(toy_step, toy_state(tables))
    assert found.tokens.tolist() == [[0] * 4] * 2
    assert found.scores.tolist() == [-1e-4] * 2


def test_impossible_words_are_never_written():
    tables = draw_tables(3, num_columns=4)
    tables[..., 0] = -torch.inf
    tables[..., 2] = -torch.inf
    found = BeamSearch(3, 5)(toy_step, toy_state(tables))
    assert set(found.tokens.flatten().tolist()) <= {1, 3}
    assert found.scores.isfinite().all()


def test_nothing_possible_is_an_empty_report():
    found = BeamSearch(3, 5)(toy_step, toy_state(torch.full((2, 5, 4, 4, 4), -torch.inf)))
    assert found.tokens.tolist() == [[0] * 5] * 2
    assert found.scores.tolist() == [-torch.inf] * 2


def test_an_empty_batch():
    found = BeamSearch(3, 4)(toy_step, toy_state(draw_tables(0, num_studies=0)))
    assert found.tokens.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_half_precision_adds_up_in_single():
    found = BeamSearch(3, 4)(toy_step, toy_state(draw_tables(0).bfloat16()))
    assert found.scores.dtype == torch.float32


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_beams", 0),
        ("max_length", 0),
        ("length_penalty", "mean"),
        ("length_penalty", -0.5),
        ("length_penalty", True),
        ("no_repeat_ngram", -1),
        ("temperature", 0.0),
    ],
)
def test_an_impossible_value_is_named(key, value):
    with pytest.raises(ValueError, match=rf"generation\.{key}"):
        BeamSearch(**{key: value})
