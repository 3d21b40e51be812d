"""What CoAtt, HRGR and CMAS have in common: boundaries, distributions, steps, targets, learning by heart."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from r2cmn import CMNModule, ReportDataModule, compose
from r2cmn.config import plain
from r2cmn.data.reports import read_annotation
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.cmas import CMAS
from r2cmn.encoder_decoder.hierarchical import FORBIDDEN, Hierarchical
from r2cmn.encoder_decoder.hrgr import HRGR
from r2cmn.encoder_decoder.wording import to_targets
from r2cmn.generation import BeamSearch, Greedy, Sample
from r2cmn.groups import MODEL
from r2cmn.objectives import CrossEntropy
from r2cmn.types import Batch

LENGTH = 40


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def written(system, seed=0):
    """Sample a report for each image: tokens (B, T) to read, from the opening 0 to the last before the closing 0."""
    state = system.model.start(system.model.encode(system.images))
    tokens = Sample(LENGTH, temperature=3, seed=seed)(system.model.step, state).tokens
    tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1]], 1)
    return tokens, (tokens > 0).index_fill(1, torch.tensor(0), True)


def stepped(system, tokens, source):
    state, found = system.model.start(source), []
    for column in tokens.unbind(1):
        log_p, state = system.model.step(column, state)
        found.append(log_p)
    return torch.stack(found, 1), state


def boundaries(system, tokens):
    """Return after which tokens the report may end."""
    ends = tokens == system.encoder_decoder.full_stop
    if system.name == "hrgr":
        ends |= tokens >= system.tokenizer.vocabulary_size
    return ends.index_fill(1, torch.tensor(0), True)


def test_steps_along_sampled_reports_are_distributions_and_equal_teacher_forcing(system):
    tokens, counted = written(system)
    source = system.model.encode(system.images)
    log_p, _ = stepped(system, tokens, source)
    at = boundaries(system, tokens) & counted
    assert (at.any(0) & (~at & counted).any(0)).sum() > 3, "no column has rows at different boundaries"
    sums = log_p.exp().sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)
    decoded = system.model.decode(tokens, source)
    torch.testing.assert_close(decoded[counted], log_p[counted], rtol=0, atol=1e-12)


def test_the_targets_of_reports_step_as_they_are_decoded(system):
    read, source = system.targets[:, :-1], system.model.encode(system.images)
    counted = (read > 0).index_fill(1, torch.tensor(0), True)
    decoded = system.model.decode(read, source)
    torch.testing.assert_close(decoded[counted], stepped(system, read, source)[0][counted], rtol=0, atol=1e-12)
    target_log_p = decoded.gather(-1, system.targets[:, 1:, None]).squeeze(-1)
    assert (target_log_p[counted] > -100).all(), "a target is forbidden"


def test_a_report_ends_only_where_a_sentence_could_start_and_no_sentence_is_empty(system):
    tokens, _ = written(system)
    log_p = system.model.decode(tokens, system.model.encode(system.images))
    at = boundaries(system, tokens)
    full_stop = system.encoder_decoder.full_stop
    assert (log_p[..., 0][~at] <= FORBIDDEN).all()
    skipped = int(system.name == "cmas")  # a report of CMAS has a sentence
    assert (log_p[:, skipped:, 0][at[:, skipped:]] > -100).all()
    assert (log_p[:, :skipped, 0] <= FORBIDDEN).all()
    empty = tokens >= system.tokenizer.vocabulary_size if system.name == "cmas" else at
    assert (log_p[..., full_stop][empty] <= FORBIDDEN / 2).all()
    if system.name == "cmas":  # a writer is chosen before the words of every sentence
        assert (log_p[..., 1 : system.tokenizer.vocabulary_size][at] <= FORBIDDEN).all()


def test_reading_in_two_parts_equals_reading_at_once(system):
    read, source = system.targets[:, :-1], system.model.encode(system.images)
    words = system.encoder_decoder.embed(read, torch.zeros(1))
    whole, after = system.encoder_decoder.write(read, words, system.model.start(source))
    first, state = system.encoder_decoder.write(read[:, :4], words[:, :4], system.model.start(source))
    second, state = system.encoder_decoder.write(read[:, 4:], words[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-12)
    for name, value in after.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=1e-12)


def test_a_permuted_state_steps_like_the_rows_themselves(system):
    tokens, _ = written(system)
    _, state = stepped(system, tokens[:, :7], system.model.encode(system.images))
    rows = torch.tensor([3, 3, 0, 7, 1])
    log_p, following = system.model.step(tokens[:, 7], state)
    permuted_log_p, permuted = system.model.step(tokens[rows, 7], {name: v[rows] for name, v in state.items()})
    torch.testing.assert_close(permuted_log_p, log_p[rows], rtol=0, atol=1e-12)
    for name, value in following.items():
        torch.testing.assert_close(permuted[name], value[rows], rtol=0, atol=1e-12)


def test_a_beams_score_is_that_of_teacher_forcing_and_one_beam_is_greedy(system):
    source = system.model.encode(system.images)
    for generation in (BeamSearch(3, LENGTH), BeamSearch(1, LENGTH), Greedy(LENGTH)):
        found = generation(system.model.step, system.model.start(source))
        read = torch.cat([torch.zeros_like(found.tokens[:, :1]), found.tokens[:, :-1]], 1)
        counted = (read > 0).index_fill(1, torch.tensor(0), True)
        log_p = system.model.decode(read, source).gather(-1, found.tokens[..., None]).squeeze(-1)
        torch.testing.assert_close((log_p * counted).sum(1), found.scores, rtol=0, atol=1e-10)
        if isinstance(generation, BeamSearch) and generation.num_beams == 1:
            one = found
    assert torch.equal(one.tokens, found.tokens)


def test_a_report_does_not_depend_on_the_others(system):
    source = system.model.encode(system.images)
    together = BeamSearch(3, LENGTH)(system.model.step, system.model.start(source))
    for row in (0, 5):
        state = system.model.start(system.model.encode(system.images[row : row + 1]))
        assert torch.equal(BeamSearch(3, LENGTH)(system.model.step, state).tokens[0], together.tokens[row])


def test_targets_read_back_as_the_report(system):
    for report, row in zip(system.reports, system.targets[:, 1:].tolist(), strict=True):
        assert system.encoder_decoder.to_words(row, system.tokenizer) == system.tokenizer.clean(report)
        assert row.count(0) == len(row) - len(row[: row.index(0)])


def test_empty_sentences_go_and_a_last_full_stop_comes(system):
    tokenizer = system.tokenizer
    plain = to_targets(system.encoder_decoder, "Heart is normal. Lungs are clear.", tokenizer)
    assert to_targets(system.encoder_decoder, "Heart is normal. . Lungs are clear", tokenizer) == plain
    assert to_targets(system.encoder_decoder, "", tokenizer) == [0, 0]


def test_a_cut_report_keeps_its_words_and_has_no_closing_0(system):
    report = "The lungs are clear. The heart is enlarged in size."
    for length in range(2, 16):
        short = Tokenizer(system.tokenizer.words, max_length=length)
        targets = to_targets(system.encoder_decoder, report, short)
        words = short.decode(short.encode(report)[1:])
        assert system.encoder_decoder.to_words(targets[1:], short) == words
        assert (targets[-1] == 0 and len(targets) > 1) == (length >= 14), length


def test_words_beyond_the_longest_report_are_cut(system):
    short = Tokenizer(system.tokenizer.words, max_length=6)
    words = system.tokenizer.clean(system.reports[0]).split()
    assert system.encoder_decoder.to_words(system.targets[0, 1:].tolist(), short).split() == words[:6]


def test_a_vocabulary_without_full_stops_is_refused():
    with pytest.raises(ValueError, match="vocabulary"):
        Hierarchical(Tokenizer(["<unk>", "clear"]), 3, 4)


def test_the_cross_entropy_alone_gives_every_parameter_a_gradient(system):
    with torch.enable_grad():
        CrossEntropy()(system, Batch(torch.arange(8), system.images, system.targets)).backward()
    missing = [name for name, parameter in system.model.named_parameters() if parameter.grad is None]
    assert not missing


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_in_half_precision(system, dtype):
    batch = Batch(torch.arange(8), system.images.float(), system.targets)
    system.model.float()
    single = CrossEntropy()(system, batch)
    with torch.autocast("cpu", dtype=dtype):
        log_p = system.model(batch.images, batch.tokens)
        half = CrossEntropy()(system, batch)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(log_p.shape[:2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(half, single, rtol=0.05, atol=0)


@pytest.mark.slow
def test_eight_reports_are_learnt_by_heart(system, make_system, make_model):
    torch.manual_seed(0)
    model, images = make_model(make_system(system.name, dim=32)[0]).float().train(), torch.randn(8, 5, 32)
    batch = Batch(torch.arange(8), images, system.targets)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    context = SimpleNamespace(model=model)
    for _ in range(300):
        with torch.enable_grad():
            loss = CrossEntropy()(context, batch)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss < 0.02:
            break
    assert loss < 0.1
    model.eval()
    found = BeamSearch(3, 60)(model.step, model.start(model.encode(images)))
    reports = [model.encoder_decoder.to_words(row, system.tokenizer) for row in found.tokens.tolist()]
    assert reports == [system.tokenizer.clean(report) for report in system.reports]


@pytest.mark.parametrize("name", ["coatt", "hrgr", "cmas_rl"])
def test_reports_of_validation_and_test_never_enter(name, tiny_dataset):
    def kept():
        images = {"resize": 40, "size": 32, "num_views": 2}
        data = ReportDataModule(tiny_dataset, text={"threshold": 1}, images=images, num_workers=0, max_unknown=1.0)
        config = compose([f"model={name}", "dim=16"])
        model = {group: plain(config[group]) for group in MODEL}
        return CMNModule.for_data(model, data, objective=plain(config.objective)).hparams["data"]

    def rewrite(*splits):
        for split in splits:
            for study in content[split]:
                study["report"] = "Fibrosis is everywhere. Fibrosis is everywhere."
        path.write_text(json.dumps(content))

    path = tiny_dataset / "annotation.json"
    content, first = json.loads(path.read_text()), kept()
    rewrite("val", "test")
    assert kept() == first
    rewrite("train")
    assert kept() != first


@pytest.mark.realdata
def test_real_reports_read_back_but_for_their_empty_sentences(iu_xray_dir):
    studies = read_annotation(iu_xray_dir)
    tokenizer = Tokenizer.build(study.report for study in studies["train"])
    made = HRGR.annotate(studies["train"], tokenizer)
    hrgr = HRGR(tokenizer, tokenizer.vocabulary_size, made, dim=4)
    plain = Hierarchical(tokenizer, tokenizer.vocabulary_size, 4), CMAS(tokenizer, tokenizer.vocabulary_size, 4)
    changed, whole = [0, 0], 0
    for study in itertools.chain(*studies.values()):
        words = tokenizer.decode(tokenizer.encode(study.report)[1:])
        for number, model in enumerate(plain):
            changed[number] += model.to_words(model.to_targets(study.report, tokenizer)[1:], tokenizer) != words
        targets = hrgr.to_targets(study.report, tokenizer)
        assert len(targets) <= tokenizer.max_length
        again = hrgr.to_targets(hrgr.to_words(targets[1:], tokenizer), tokenizer)  # templates stand for themselves
        if targets[-1] == 0 and again[-1] == 0:  # neither is cut
            assert again == targets
            whole += 1
    assert changed == [11, 11]
    assert whole > 2600
