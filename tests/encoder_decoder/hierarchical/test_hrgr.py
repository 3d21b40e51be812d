"""HRGR against the paper's equations, one sentence and one word after another; its templates; its size."""

import pytest
import torch

from r2cmn.config import check, compose
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.hrgr import HRGR

PROJECTION = 1_049_088  # of the backbone, counted with the head


def lstm(layer, inputs, hidden, cell):
    write, keep, show, content = (layer.read(inputs) + layer.hidden(hidden)).chunk(4)
    cell = keep.sigmoid() * cell + write.sigmoid() * content.tanh()
    return show.sigmoid() * cell.tanh(), cell


def attend(attention, query, values):
    scores = [attention.score(torch.tanh(attention.key(value) + attention.query(query))) for value in values]
    return sum(weight * value for weight, value in zip(torch.cat(scores).softmax(0), values, strict=True))


def score(model, patches, tokens, full_stop):
    """Return log p of the tokens of one report after its opening 0."""
    zeros = patches.new_zeros(model.dim)
    sentence = zeros, zeros
    found, starts = [], True
    for token in tokens:
        if starts:
            sentence = lstm(model.sentence, attend(model.sentence_attention, sentence[0], patches), *sentence)
            topic = model.topic(sentence[0]).sigmoid()
            z = model.stop(sentence[0]).sigmoid()[0]
            u = model.action(topic).softmax(0)
            word, read = (zeros, zeros), 0
            possible = [n for n in range(1, model.vocabulary_size) if n != full_stop]
        else:
            possible = list(range(1, model.vocabulary_size))
        seen = attend(model.word_attention, word[0], patches)
        word = lstm(model.word, torch.cat([seen, model.embedding.weight[read], topic]), *word)
        if token == 0:
            p = z
        elif token >= model.vocabulary_size:
            p = (1 - z) * u[1 + token - model.vocabulary_size]
        else:
            p = model.output(word[0])[possible].softmax(0)[possible.index(token)]
            p = p * (1 - z) * u[0] if starts else p
        found.append(p.log())
        read, starts = token, token == full_stop or token >= model.vocabulary_size
    return torch.stack(found)


def test_equations(make_system, make_model):
    model, tokenizer = make_system("hrgr")
    patches = torch.randn(2, 5, model.dim).double()
    report = "There is a small effusion. No pneumothorax. The lungs are clear. The heart is enlarged in size."
    targets = torch.tensor(model.to_targets(report, tokenizer))
    is_template = targets >= tokenizer.vocabulary_size
    assert is_template.sum() == 2
    log_p = make_model(model)(patches, targets[:-1].expand(2, -1))
    for row in range(2):
        wanted = score(model, patches[row], targets[1:].tolist(), model.full_stop)
        found = log_p[row].gather(-1, targets[1:, None]).squeeze(-1)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("templates", "words", "head"), [(28, 761, 9_458_457), (97, 4336, 13_158_229)])
def test_parameters_of_the_papers_size(templates, words, head):
    made = [{"text": "", "keys": [str(n)]} for n in range(templates)]
    with torch.device("meta"):
        model = HRGR(Tokenizer([".", "<unk>"]), words, {"templates": made})
    assert sum(parameter.numel() for parameter in model.parameters()) + PROJECTION == head


def test_a_sentence_of_a_templates_group_becomes_its_pseudo_token(make_system):
    model, tokenizer = make_system("hrgr")
    texts = [tokenizer.decode(template) for template in model.templates]
    number = texts.index("no pneumothorax .")
    report = "No pneumothorax is seen. The heart is enlarged in size."  # function words do not count
    targets = model.to_targets(report, tokenizer)
    assert targets[1] == tokenizer.vocabulary_size + number
    assert all(token < tokenizer.vocabulary_size for token in targets[2:])
    assert model.to_words(targets[1:], tokenizer) == "no pneumothorax . the heart is enlarged in size ."


def test_a_cut_sentence_is_no_template(make_system):
    model, tokenizer = make_system("hrgr")
    short = Tokenizer(tokenizer.words, max_length=3)  # "no pneumothorax", without its full stop
    assert model.to_targets("No pneumothorax.", short) == short.encode("No pneumothorax.")


def test_templates_beyond_the_vocabulary_are_refused(make_system):
    made = {"templates": [{"text": "lungs are clear", "keys": ["clear lung"]}]}
    with pytest.raises(ValueError, match="vocabulary"):
        HRGR(Tokenizer([".", "<unk>", "lungs"]), 4, made, dim=4)


def test_no_templates_cannot_be_asked_for():
    with pytest.raises(ValueError, match=r"encoder_decoder\.num_templates"):
        check(compose(["model=hrgr", "encoder_decoder.num_templates=0"]))


def test_no_templates_are_refused_before_the_first_step():
    model = HRGR(Tokenizer([".", "<unk>", "lungs"]), 4, HRGR.annotate([], Tokenizer([".", "<unk>"])), dim=4)
    with pytest.raises(ValueError, match="templates"):
        model.to_targets("Lungs.", Tokenizer([".", "<unk>", "lungs"]))
