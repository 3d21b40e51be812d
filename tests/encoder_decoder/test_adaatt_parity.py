"""AdaAtt against recordings of public code."""

import pytest
import torch
from torch import nn

from r2cmn.encoder_decoder.adaatt import AdaAtt

pytestmark = pytest.mark.golden


def make(cell):
    def build(options):
        dim = options["rnn_size"]
        assert options["input_encoding_size"] == dim
        projection = nn.Sequential(nn.Linear(options["att_feat_size"], dim), nn.ReLU())
        return projection, AdaAtt(
            options["vocab_size"] + 1, dim, options["att_hid_size"], options["fc_feat_size"], cell
        )

    return build


NAMES = {
    "backbone.0": "att_embed.0",
    "encoder_decoder.embedding": "embed.0",
    "encoder_decoder.output": "logit",
    "encoder_decoder.global_feature": "fc_embed.0",
    "encoder_decoder.words": ("core.lstm.w2h", "core.lstm.r_w2h"),
    "encoder_decoder.image": ("core.lstm.v2h", "core.lstm.r_v2h"),
    "encoder_decoder.hidden": ("core.lstm.h2h.0", "core.lstm.r_h2h"),
    "encoder_decoder.sentinel": "core.attention.fr_linear.0",
    "encoder_decoder.sentinel_key": "core.attention.fr_embed",
    "encoder_decoder.asking": "core.attention.ho_linear.0",
    "encoder_decoder.query": "core.attention.ho_embed",
    "encoder_decoder.key": "ctx2att",
    "encoder_decoder.score": "core.attention.alpha_net",
    "encoder_decoder.combine": "core.attention.att2h",
}
SYSTEMS = {"adaatt": (make("lstm"), NAMES, "att_feats"), "adaattmo": (make("maxout"), NAMES, "att_feats")}


def test_log_probabilities(recording):
    recording.check_log_probabilities()


def test_loss_and_gradients(recording):
    recording.check_loss_and_gradients()


def test_written_reports(recording):
    recording.check_written_reports()


def test_states(recording):
    recording.check_states()


def test_attention_and_sentinel(recording, monkeypatch):
    model, sentinels = recording.model.encoder_decoder, []
    attend = model.attend
    monkeypatch.setattr(model, "attend", lambda h, s, state: sentinels.append(s) or attend(h, s, state))
    outputs = recording.check_attention()
    torch.testing.assert_close(recording.arrays["attention"][..., 0], recording.arrays["beta"], rtol=0, atol=0)
    for name, found in (("att_out", outputs), ("sentinel", torch.stack(sentinels[: outputs.shape[1]], 1))):
        recorded = recording.arrays[name]
        torch.testing.assert_close(found.to(recorded), recorded, rtol=0, atol=1e-5)


def test_initialization(recording):
    recording.check_initialization()
