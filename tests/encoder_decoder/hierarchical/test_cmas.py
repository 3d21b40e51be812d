"""CMAS against the paper's equations, one sentence and one word after another; its writers; its size."""

import pytest
import torch

from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.cmas import CMAS
from r2cmn.encoder_decoder.wording import max_tokens
from r2cmn.generation import Sample

PROJECTION = 1_049_088  # of the backbone, counted with the head


def lstm(layer, inputs, hidden, cell):
    write, keep, show, content = (layer.read(inputs) + layer.hidden(hidden)).chunk(4)
    cell = keep.sigmoid() * cell + write.sigmoid() * content.tanh()
    return show.sigmoid() * cell.tanh(), cell


def score(model, patches, tokens, full_stop):
    """Return log p of the tokens of one report after its opening 0."""
    size = model.vocabulary_size
    local = zeros = patches.new_zeros(model.dim)
    whole = zeros, zeros
    found, planned = [], True
    for token in tokens:
        if planned:
            query = model.attention.query(torch.cat([local, whole[0]]))
            scores = [model.attention.score(torch.tanh(query + model.attention.key(patch))) for patch in patches]
            seen = sum(w * v for w, v in zip(torch.cat(scores).softmax(0), patches, strict=True))
            whole = lstm(model.encoder, torch.tanh(model.context(torch.cat([seen, local]))), *whole)
            choice = {0: 0, size: 1, size + 1: 2}[token]
            possible = [0, 1, 2] if found else [1, 2]
            found.append(model.planner(whole[0])[possible].log_softmax(0)[possible.index(choice)])
            if token == 0:
                break
            writer, output = model.writers[choice - 1], model.outputs[choice - 1]
            word = lstm(writer, model.embedding.weight[0], *lstm(writer, whole[0], zeros, zeros))
            possible = [n for n in range(1, size) if n != full_stop]
        else:
            found.append(output(word[0])[possible].log_softmax(0)[possible.index(token)])
            word = lstm(writer, model.embedding.weight[token], *word)
            local, possible = word[0], list(range(1, size))
        planned = token == full_stop
    return torch.stack(found)


def test_equations(make_system, make_model):
    model, tokenizer = make_system("cmas")
    patches = torch.randn(2, 5, model.dim).double()
    report = "The lungs are clear. There is a small effusion. The heart is enlarged. No pneumothorax."
    targets = torch.tensor(model.to_targets(report, tokenizer))
    log_p = make_model(model)(patches, targets[:-1].expand(2, -1))
    for row in range(2):
        wanted = score(model, patches[row], targets[1:].tolist(), model.full_stop)
        found = log_p[row].gather(-1, targets[1:, None]).squeeze(-1)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("words", "head"), [(761, 10_362_870), (4336, 15_861_220)])
def test_parameters_of_the_papers_size(words, head):
    with torch.device("meta"):
        model = CMAS(Tokenizer([".", "<unk>"]), words)
    assert sum(parameter.numel() for parameter in model.parameters()) + PROJECTION == head


def test_each_sentence_follows_the_choice_of_its_writer(make_system):
    model, tokenizer = make_system("cmas")
    targets = model.to_targets("The lungs are clear. The heart is enlarged.", tokenizer)
    size, words = tokenizer.vocabulary_size, tokenizer.encode("The lungs are clear. The heart is enlarged.")
    assert targets == [0, size, *words[1:6], size + 1, *words[6:]]
    kinds = model.kinds(torch.tensor([targets[:-1], [0, size + 1, words[1], 0, *[0] * 9]]))
    assert kinds.tolist() == [[0, *[1] * 5, 0, *[2] * 5, 0], [0, *[2] * 12]]


def test_pseudo_tokens_do_not_count_for_the_length(make_system, make_model):
    model, tokenizer = make_system("cmas")
    longest = max_tokens(model, tokenizer)
    assert longest == 90
    state = make_model(model).start(model.encode(torch.randn(20, 5, model.dim).double()))
    with torch.no_grad():
        tokens = Sample(longest, temperature=3, seed=0)(make_model(model).step, state).tokens
    for row in tokens.tolist():
        ended = row.index(0) if 0 in row else longest
        choices = sum(token >= tokenizer.vocabulary_size for token in row)
        words = model.to_words(row, tokenizer).split()
        assert len(words) == min(ended - choices, tokenizer.max_length)
        assert 0 in row or len(words) == tokenizer.max_length
