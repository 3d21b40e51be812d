"""Up-Down against recordings of public code."""

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.topdown import TopDown

pytestmark = pytest.mark.golden


def build(options):
    dim, hidden_dim, feature_dim = options["input_encoding_size"], options["rnn_size"], options["att_feat_size"]
    projection = nn.Sequential(nn.Linear(feature_dim, hidden_dim), nn.ReLU())
    sizes = dim, hidden_dim, options["att_hid_size"], hidden_dim, options["fc_feat_size"]
    return projection, TopDown(options["vocab_size"] + 1, *sizes)


def gates(cell, *names):
    """Return what takes weights of one of their cells, with its gates in our order: input forget output content.

    Their attention cell reads [h2, g, w]: columns of `weight_ih` are named by the place of their block.
    """

    def take(theirs):
        parts = []
        for name, *blocks in names:
            value = theirs[f"core.{cell}.{name}"]
            size = len(value) // 4
            write, keep, content, show = value.chunk(4)
            value = torch.cat([write, keep, show, content])
            columns = {"h2": slice(0, size), "g": slice(size, 2 * size), "w": slice(2 * size, None)}
            parts += [value[:, columns[block]] for block in blocks] or [value]
        return torch.cat(parts, -1)

    return take


SYSTEMS = {
    "updown": (
        build,
        {
            "backbone.0": "att_embed.0",
            "encoder_decoder.embedding": "embed.0",
            "encoder_decoder.output": "logit",
            "encoder_decoder.global_feature": "fc_embed.0",
            "encoder_decoder.words.weight": gates("att_lstm", ("weight_ih", "w")),
            "encoder_decoder.words.bias": gates("att_lstm", ("bias_ih",)),
            "encoder_decoder.image.weight": gates("att_lstm", ("weight_ih", "g")),
            "encoder_decoder.hidden.weight": gates("att_lstm", ("weight_ih", "h2"), ("weight_hh",)),
            "encoder_decoder.hidden.bias": gates("att_lstm", ("bias_hh",)),
            "encoder_decoder.language.weight": gates("lang_lstm", ("weight_ih",)),
            "encoder_decoder.language.bias": gates("lang_lstm", ("bias_ih",)),
            "encoder_decoder.language_hidden.weight": gates("lang_lstm", ("weight_hh",)),
            "encoder_decoder.language_hidden.bias": gates("lang_lstm", ("bias_hh",)),
            "encoder_decoder.attention.key": "ctx2att",
            "encoder_decoder.attention.query": "core.attention.h2att",
            "encoder_decoder.attention.score": "core.attention.alpha_net",
        },
        "att_feats",
    )
}


def test_log_probabilities(recording):
    recording.check_log_probabilities()


def test_loss_and_gradients(recording):
    recording.check_loss_and_gradients()


def test_written_reports(recording):
    recording.check_written_reports()


def test_states(recording):
    recording.check_states()


def test_attention(recording):
    recording.check_attention()


def test_initialization(recording):
    recording.check_initialization()
