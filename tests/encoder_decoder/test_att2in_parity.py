"""Att2in against recordings of public code."""

import pytest
from torch import nn

from r2cmn.encoder_decoder.att2in import Att2In

pytestmark = pytest.mark.golden


def make(raw_features):
    def build(options):
        dim, hidden_dim, feature_dim = options["input_encoding_size"], options["rnn_size"], options["att_feat_size"]
        steps = [] if raw_features else [nn.Linear(feature_dim, hidden_dim), nn.ReLU()]
        sizes = dim, hidden_dim, options["att_hid_size"], feature_dim if raw_features else hidden_dim, feature_dim
        return nn.Sequential(*steps), Att2In(options["vocab_size"] + 1, *sizes, raw_features)

    return build


CELL = {
    "encoder_decoder.output": "logit",
    "encoder_decoder.words": "core.i2h",
    "encoder_decoder.hidden": "core.h2h",
    "encoder_decoder.attended": "core.a2c",
    "encoder_decoder.attention.key": "ctx2att",
    "encoder_decoder.attention.query": "core.attention.h2att",
    "encoder_decoder.attention.score": "core.attention.alpha_net",
}
SYSTEMS = {
    "att2in2": (
        make(False),
        {"backbone.0": "att_embed.0", "encoder_decoder.embedding": "embed.0", **CELL},
        "att_feats",
    ),
    "att2in": (make(True), {"encoder_decoder.embedding": "embed", **CELL}, "att_feats"),
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
