"""Show and Tell against recordings of public code."""

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.show_tell import ShowTell

pytestmark = pytest.mark.golden


def make(cell):
    def build(options):
        dim, hidden_dim = options["input_encoding_size"], options["rnn_size"]
        projection = nn.Sequential(nn.Linear(options["fc_feat_size"], dim))
        return projection, ShowTell(options["vocab_size"] + 1, dim, hidden_dim, cell)

    return build


def reordered(name):
    """Return what puts torch's order of gates, input forget content output, into ours."""

    def reorder(theirs):
        write, keep, content, show = theirs[name].chunk(4)
        return torch.cat([write, keep, show, content])

    return reorder


SYSTEMS = {
    "show_tell": (
        make("lstm"),
        {
            "backbone.0": "img_embed",
            "encoder_decoder.embedding": "embed",
            "encoder_decoder.output": "logit",
            "encoder_decoder.words.weight": reordered("core.weight_ih_l0"),
            "encoder_decoder.hidden.weight": reordered("core.weight_hh_l0"),
        },
        "fc_feats",
    ),
    "newfc": (
        make("maxout"),
        {
            "backbone.0": "fc_embed",
            "encoder_decoder.embedding": "embed",
            "encoder_decoder.output": "logit",
            "encoder_decoder.words": "_core.i2h",
            "encoder_decoder.hidden": "_core.h2h",
        },
        "fc_feats",
    ),
}


def test_log_probabilities(recording):
    recording.check_log_probabilities()


def test_loss_and_gradients(recording):
    recording.check_loss_and_gradients()


def test_written_reports(recording):
    recording.check_written_reports()


def test_states(recording):
    recording.check_states()


def test_initialization(recording):
    recording.check_initialization()
