"""CoAtt's loss: equal to the cross entropy with equal weights, its terms against loops, and its tags."""

import pytest
import torch
from torch import nn

from r2cmn.config import check, compose
from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.coatt import CoAtt
from r2cmn.memory import NoMemory, SeparateMemory
from r2cmn.model import CMN
from r2cmn.objectives import CrossEntropy, TagsAndWords
from r2cmn.types import Batch

REPORTS = ["Heart enlarged. Effusion. Clear lungs.", "Clear lungs.", "Effusion. No fracture."]
OFF = {"lambda_tag": 0.0, "lambda_stop": 0.0, "lambda_word": 0.0, "lambda_attention": 0.0}
NUM_PATCHES, DIM, PICKED = 4, 8, 3


class Given(nn.Identity):
    features = project = nn.Identity.forward


class Context:
    def __init__(self, model):
        self.model = model


@pytest.fixture(params=[NoMemory, lambda: SeparateMemory(DIM, 6, 3, 2, dropout=0.0)], ids=["none", "separate"])
def context(request):
    tokenizer = Tokenizer.build(REPORTS, threshold=1)
    studies = [Study(str(n), report, (), "train") for n, report in enumerate(REPORTS)]
    made = CoAtt.annotate(studies, tokenizer)
    made["of_studies"][1] = None  # a study without tags
    coatt = CoAtt(tokenizer, tokenizer.vocabulary_size, made, DIM, PICKED, feature_dim=DIM)
    return Context(CMN(Given(), request.param(), coatt).double())


@pytest.fixture
def batch(context):
    coatt = context.model.encoder_decoder
    tokenizer = Tokenizer.build(REPORTS, threshold=1)
    rows = [torch.tensor(coatt.to_targets(report, tokenizer)) for report in REPORTS]
    tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Batch(torch.arange(3), torch.randn(3, NUM_PATCHES, DIM).double(), tokens)


def loss(context, batch, **weights):
    return TagsAndWords(**{**OFF, **weights})(context, batch)


def test_with_equal_weights_it_is_the_cross_entropy(context, batch):
    flat = CrossEntropy()(context, batch)
    torch.testing.assert_close(loss(context, batch, lambda_stop=1.0, lambda_word=1.0), flat, rtol=0, atol=1e-12)
    total = loss(context, batch, lambda_stop=1.0, lambda_word=1.0, per_token=False)
    torch.testing.assert_close(total, flat * (batch.tokens > 0).sum().add(3) / 3, rtol=0, atol=1e-12)


def test_stops_and_words_are_separate(context, batch):
    log_p = context.model(batch.images, batch.tokens[:, :-1])
    coatt = context.model.encoder_decoder
    stop, word, count = 0.0, 0.0, 0
    for row, tokens in zip(log_p, batch.tokens.tolist(), strict=True):
        for t in range(1, len(tokens)):
            if t > 1 and tokens[t - 1] == 0:
                break
            at_start = t == 1 or tokens[t - 1] == coatt.full_stop
            goes_on = (1 - row[t - 1, 0].exp()).log() if at_start else 0.0
            stop -= (row[t - 1, 0] if tokens[t] == 0 else goes_on) if at_start else 0.0
            word -= 0.0 if tokens[t] == 0 else row[t - 1, tokens[t]] - goes_on
            count += 1
    torch.testing.assert_close(loss(context, batch, lambda_stop=2.0), 2 * stop / count, rtol=1e-10, atol=0)
    torch.testing.assert_close(loss(context, batch, lambda_word=3.0), 3 * word / count, rtol=1e-10, atol=0)


def test_tags_are_those_of_the_studies_that_have_some(context, batch):
    logits = context.model.encode(batch.images)["tag_logits"].log_softmax(-1)
    coatt = context.model.encoder_decoder
    wanted = 0.0
    for row in (0, 2):
        numbers = coatt.of_studies[row]
        wanted -= sum(logits[row, number] for number in numbers) / len(numbers) / 2
    assert [len(coatt.of_studies[row]) for row in (0, 2)] == [2, 1]
    torch.testing.assert_close(loss(context, batch, lambda_tag=1.0), wanted, rtol=0, atol=1e-12)
    turned = Batch(batch.index.flip(0), batch.images.flip(0), batch.tokens.flip(0))
    torch.testing.assert_close(loss(context, turned, lambda_tag=1.0), wanted, rtol=0, atol=1e-12)


def test_tags_have_no_part_in_validation(context, batch):
    context.model.eval()
    assert loss(context, batch, lambda_tag=1.0) == 0
    elsewhere = batch._replace(index=batch.index + 1000)  # beyond the training studies
    torch.testing.assert_close(TagsAndWords()(context, elsewhere), TagsAndWords()(context, batch), rtol=0, atol=0)


def test_attention_over_the_sentences_of_the_report(context, batch):
    coatt, wanted = context.model.encoder_decoder, 0.0
    for row, number in enumerate((3, 1, 2)):
        patches = batch.images[row : row + 1]
        state = context.model.start(context.model.encode(patches))
        read = torch.tensor([[0, *[coatt.full_stop] * (number - 1)]])  # any tokens that start as many sentences
        sentences = coatt.read(read, coatt.embed(read, torch.zeros(1)), state)[0].sentences
        for weights, size in ((sentences.patch_weights, NUM_PATCHES), (sentences.tag_weights, PICKED)):
            for place in range(size):
                wanted += (1 - sum(weights[0, s, place] for s in range(number))) ** 2
    count = (batch.tokens > 0).sum() + 3
    torch.testing.assert_close(loss(context, batch, lambda_attention=2.0), 2 * wanted / count, rtol=0, atol=1e-12)
    total = loss(context, batch, lambda_attention=2.0, per_token=False)
    torch.testing.assert_close(total, 2 * wanted / 3, rtol=0, atol=1e-12)


def test_padding_changes_nothing_and_every_parameter_has_a_gradient(context, batch):
    padded = batch._replace(tokens=torch.cat([batch.tokens, batch.tokens.new_zeros(3, 5)], 1))
    whole = TagsAndWords()(context, batch)
    torch.testing.assert_close(TagsAndWords()(context, padded), whole, rtol=0, atol=1e-12)
    whole.backward()
    for name, parameter in context.model.named_parameters():
        assert parameter.grad is not None, name


def test_another_encoder_decoder_is_refused_before_data_are_read():
    with pytest.raises(ValueError, match="CoAtt"):
        check(compose(["objective=tags_and_words"]))
    with pytest.raises(ValueError, match="CMAS"):
        check(compose(["model=coatt", "objective=imitation"]))
