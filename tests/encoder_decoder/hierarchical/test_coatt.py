"""CoAtt against the paper's equations, one sentence and one word after another; its tags; its size."""

import json

import pytest
import torch

from r2cmn.build import build
from r2cmn.config import check, compose
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.coatt import CoAtt
from r2cmn.encoder_decoder.wording import annotate


def lstm(layer, inputs, hidden, cell):
    write, keep, show, content = (layer.read(inputs) + layer.hidden(hidden)).chunk(4)
    cell = keep.sigmoid() * cell + write.sigmoid() * content.tanh()
    return show.sigmoid() * cell.tanh(), cell


def attend(attention, query, values):
    scores = [attention.score(torch.tanh(attention.key(value) + attention.query(query))) for value in values]
    weights = torch.cat(scores).softmax(0)
    return sum(weight * value for weight, value in zip(weights, values, strict=True)), weights


def score(model, patches, tokens, full_stop):
    """Return log p of the tokens of one report after its opening 0, and the attention of each sentence."""
    logits = model.tagger(patches.mean(0))
    tags = [model.tag_embedding.weight[number] for number in logits.argsort(descending=True)[: model.num_picked]]
    h = c = patches.new_zeros(model.dim)
    found, attention, starts = [], [], True
    for token in tokens:
        if starts:
            v, alpha = attend(model.patch_attention, h, patches)
            a, beta = attend(model.tag_attention, h, tags)
            attention.append((alpha, beta))
            context = model.context(torch.cat([v, a]))
            before = h
            h, c = lstm(model.sentence, context, h, c)
            topic = torch.tanh(model.topic_hidden(h) + model.topic_context(context))
            p_stop = model.stop(torch.tanh(model.stop_before(before) + model.stop_after(h))).sigmoid()[0]
            word, read = lstm(model.word, topic, torch.zeros_like(h), torch.zeros_like(h)), 0
            possible = [n for n in range(1, model.vocabulary_size) if n != full_stop]
        else:
            possible = list(range(1, model.vocabulary_size))
        word = lstm(model.word, model.embedding.weight[read], *word)
        if token == 0:
            found.append(p_stop.log())
            break
        p = model.output(word[0])[possible].softmax(0)[possible.index(token)]
        found.append((p * (1 - p_stop) if starts else p).log())
        read, starts = token, token == full_stop
    return torch.stack(found), attention


def test_equations(make_system, make_model):
    model, tokenizer = make_system("coatt", num_picked=3)
    patches = torch.randn(2, 5, model.dim).double()
    for row, report in enumerate(["The lungs are clear. No acute disease.", "The heart is enlarged."]):
        targets = torch.tensor(model.to_targets(report, tokenizer))
        composite = make_model(model).eval()
        log_p = composite(patches, targets[:-1].expand(2, -1))[row].gather(-1, targets[1:, None]).squeeze(-1)
        wanted, attention = score(model, patches[row], targets[1:].tolist(), model.full_stop)
        torch.testing.assert_close(log_p, wanted, rtol=0, atol=1e-12)
        source = model.encode(patches, patches)
        words = model.embed(targets[None, :-1].expand(2, -1), torch.zeros(1))
        written, _ = model.read(targets[None, :-1].expand(2, -1), words, model.start(source))
        for name, number in (("patch_weights", 0), ("tag_weights", 1)):
            wanted_weights = torch.stack([each[number] for each in attention])
            torch.testing.assert_close(getattr(written.sentences, name)[row], wanted_weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("tags", "words", "head"), [(78, 761, 9_382_730), (39, 4336, 12_947_226)])
def test_parameters_of_the_papers_size(tags, words, head):
    tokenizer = Tokenizer([".", "<unk>"])
    with torch.device("meta"):
        model = CoAtt(tokenizer, words, {"tags": [""] * tags, "of_studies": []}, patch_dim=2048)
    assert sum(parameter.numel() for parameter in model.parameters()) == head


def labels_of(*positive):
    return tuple(int(number in positive) for number in range(14))


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ("rules", [{"Emphysema", "Cardiomegaly"}, {"normal"}, {"Pleural Effusion"}]),
        ("labels", [{"Cardiomegaly", "Edema"}, set(), {"Pleural Effusion"}]),
        ("tags.json", [{"other"}, set(), {"other"}]),  # no tag in three studies
    ],
)
def test_tags_of_the_training_studies(source, tags, make_studies, tmp_path):
    reports = ["There is a small effusion.", "The lungs are clear.", "Emphysema. The heart is enlarged."]
    studies = make_studies(reports, [labels_of(9), None, labels_of(1, 4)])
    path = tmp_path / "tags.json"
    path.write_text(json.dumps({"s0": ["Effusion/left"], "s2": "Effusion;Edema", "elsewhere": ["Edema", "Edema/mild"]}))
    tokenizer = Tokenizer.build(reports, threshold=1)
    description = {"_target_": f"{CoAtt.__module__}.CoAtt", "tags": source.replace("tags.json", str(path))}
    made = annotate(description, studies, tokenizer)
    model = CoAtt(tokenizer, tokenizer.vocabulary_size, made, dim=4, num_picked=1, feature_dim=4)
    rows = model.tag_targets(torch.tensor([2, 1, 0]))
    assert [{made["tags"][n] for n in row.nonzero().flatten()} for row in rows] == tags


def test_fewer_tags_than_are_picked_are_refused_before_data_are_read():
    check(compose(["model=coatt", "encoder_decoder.tags=labels", "encoder_decoder.num_picked=14"]))
    for source, number in (("rules", 40), ("labels", 15)):
        with pytest.raises(ValueError, match=f"num_picked is {number}.*{source}"):
            check(compose(["model=coatt", f"encoder_decoder.tags={source}", f"encoder_decoder.num_picked={number}"]))


def test_fewer_tags_of_a_file_than_are_picked_are_refused_with_the_data(make_studies, tmp_path):
    path = tmp_path / "tags.json"
    path.write_text(
        json.dumps({f"s{n}": ["Effusion"] for n in range(3)} | {"elsewhere": [f"Tag {n}" for n in range(9)]})
    )
    check(compose(["model=coatt", f"encoder_decoder.tags={path}"]))  # 10 tags in the whole file
    with pytest.raises(ValueError, match=r"num_picked is 11.*at most 10.*tags\.json"):
        check(compose(["model=coatt", f"encoder_decoder.tags={path}", "encoder_decoder.num_picked=11"]))
    tokenizer = Tokenizer.build(["Effusion."], threshold=1)
    description = {"_target_": f"{CoAtt.__module__}.CoAtt", "tags": str(path)}
    offered = {"tokenizer": tokenizer, "vocabulary_size": tokenizer.vocabulary_size}
    offered["annotations"] = annotate(description, make_studies(["Effusion."] * 3), tokenizer)
    with pytest.raises(ValueError, match="at most 1"):
        build(description, "encoder_decoder", offered)


def test_a_missing_tag_file_is_found_before_data_are_read(tmp_path):
    with pytest.raises((ValueError, OSError), match=r"none\.json"):
        check(compose(["model=coatt", f"encoder_decoder.tags={tmp_path / 'none.json'}"]))


def test_a_memory_of_another_width_than_the_patches_is_refused():
    with pytest.raises(ValueError, match=r"backbone\.projection"):
        check(compose(["model=coatt", "memory=cross_modal"]))
    check(compose(["model=coatt", "memory=cross_modal", "backbone.projection=linear"]))
