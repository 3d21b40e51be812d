"""The checks for users: they pass for parts that keep the contract, and name the sentence that a part breaks."""

import own_parts
import pytest
import torch
from own_parts import Bank, Blocks, Gated
from torch import nn

from r2cmn.backbone import Backbone
from r2cmn.protocols import PartError
from r2cmn.testing import check_backbone, check_encoder_decoder, check_memory


def test_parts_that_keep_the_contract_pass():
    check_backbone(Blocks(8))
    check_backbone(Backbone("test_resnet", 8, pretrained=False), image_size=32)
    check_memory(Bank(8), dim=8)
    check_encoder_decoder(Gated(4, 8), dim=8)
    check_encoder_decoder(Gated(9, 8), dim=8, memory=Bank(8))


def test_the_part_itself_stays_as_it_was():
    memory = Bank(8)
    before = memory.vectors.clone()
    check_memory(memory, dim=8)
    check_encoder_decoder(Gated(4, 8), dim=8, memory=memory)
    assert torch.equal(memory.vectors, before)
    assert memory.vectors.dtype == torch.float32
    assert memory.vectors.requires_grad
    assert memory.training


class OfTheBatch(Blocks):
    def forward(self, images):
        patches = super().forward(images)
        return patches - patches.mean(0)


class Idle(Blocks):
    def __init__(self):
        super().__init__(8)
        self.unused = nn.Linear(2, 2)


class Wide(Blocks):
    patch_dim = 9


class Split(Blocks):
    def features(self, images):
        return super().forward(images)

    def project(self, features):
        return 2 * features


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (OfTheBatch(8), "depend on its batch"),
        (Idle(), r"no gradient reaches unused\.weight, unused\.bias"),
        (Wide(8), "patch_dim is 9, but the patches have 8"),
        (Split(8), r"not project\(features\(images\)\)"),
        (nn.Identity(), r"returned \(3, 2, 3, 32, 32\), not \(B, S, D\)"),
    ],
)
def test_a_backbone_is_named_by_what_it_breaks(backbone, message):
    with pytest.raises(AssertionError, match=message):
        check_backbone(backbone)


class Running(Bank):
    """Its response to a word depends on the words before it."""

    def textual(self, words):
        return words.cumsum(1) + self.visual(words)


class Narrow(Bank):
    def visual(self, patches):
        return super().textual(patches)[..., :4]


def test_a_memory_is_named_by_what_it_breaks():
    with pytest.raises(AssertionError, match=r"memory\.textual: the response to a word depends on the others"):
        check_memory(Running(8), dim=8)
    with pytest.raises(AssertionError, match=r"memory\.visual returned \(3, 5, 4\)"):
        check_memory(Narrow(8), dim=8)
    with pytest.raises(PartError, match="memory: Linear lacks visual, textual"):
        check_memory(nn.Linear(8, 8), dim=8)


class Forgetful(Gated):
    """Steps without the word that it reads."""

    def step(self, tokens, words, state):
        return super().step(tokens, torch.zeros_like(words), state)

    def decode(self, tokens, words, source):
        hidden, _ = nn.functional.layer_norm(words, words.shape[-1:]), source
        return self.output(hidden).log_softmax(-1)


class InPlace(Gated):
    """Writes into the state that it was given."""

    def step(self, tokens, words, state):
        log_p, following = super().step(tokens, words, state)
        state["hidden"].copy_(following["hidden"])
        return log_p, {"position": following["position"], "hidden": state["hidden"]}


class Standing(Gated):
    """Does not count the words."""

    def step(self, tokens, words, state):
        log_p, following = super().step(tokens, words, state)
        return log_p, {**following, "position": state["position"]}


class OfAll(Gated):
    """Reads the mean patch of all studies."""

    def encode(self, patches):
        return {"mean": patches.mean((0, 1)).expand(len(patches), -1)}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Forgetful, "Stepping equals teacher forcing"),
        (InPlace, "leaves the state"),
        (Standing, "position counts the words"),
        (OfAll, "does not depend on its batch"),
    ],
)
def test_an_encoder_decoder_is_named_by_the_sentence_that_it_breaks(part, message):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=message):
        check_encoder_decoder(part(4, 8), dim=8)


def test_a_method_that_is_missing_is_named():
    with pytest.raises(PartError, match="GRU lacks encode, embed, decode, start, step"):
        check_encoder_decoder(nn.GRU(8, 8), dim=8)
    assert own_parts
