"""Released names and ours: trunks against torchvision's own, everything else there and back, and every refusal."""

import pytest
import torch
import torchvision
from torch import nn

from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.layers import sinusoids
from r2cmn.encoder_decoder.r2gen import R2Gen
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import CrossModalMemory, NoMemory
from r2cmn.model import CMN
from r2cmn.released import families, weights
from r2cmn.released.families import R2GEN, R2GENCMN
from r2cmn.released.files import ReleasedFileError

SIZES = {"vocabulary_size": 9, "dim": 8, "num_layers": 2, "dim_feedforward": 12}
FAMILIES = {"R2GenCMN": (R2GENCMN, {"num_vectors": 6}), "R2Gen": (R2GEN, {"num_slots": 3})}


def make_model(family=R2GENCMN):
    """A small model of a family, whose numbers all differ."""
    backbone = Backbone("resnet18", dim=8, pretrained=False)
    if family is R2GEN:
        model = CMN(backbone, NoMemory(), R2Gen(9, 8, 2, 2, 12, num_slots=3, num_memory_heads=2)).eval()
    else:
        model = CMN(backbone, CrossModalMemory(8, 6, 2, 2), Transformer(9, 8, 2, 2, 12)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


def export(model, family=R2GENCMN):
    """Return the released weights of a model, and their sources."""
    ours = model.state_dict()
    names = weights.sources(ours, family, 2)
    return weights.to_theirs(ours, names), names


def released_trunk(name):
    """The released code's visual extractor: a torchvision model with random weights and statistics."""
    with torch.device("meta"):  # the classifier, most of a VGG, is never there
        network = getattr(torchvision.models, name)(weights=None)
    trunk = nn.Sequential(*list(network.children())[:-2]).eval().to_empty(device="cpu")
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return trunk


QUICK = ["resnet18", "vgg11"]
SLOW = [
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_trunk_is_recognized_and_computes_what_torchvision_does(name):
    trunk = released_trunk(name)
    theirs = {weights.TRUNK + key: value for key, value in trunk.state_dict().items()}
    assert weights.trunk_name(theirs) == name
    with torch.device("meta"):
        ours = Backbone(f"{name}.tv_in1k", dim=8, pretrained=False).eval()
    names = weights.sources([f"backbone.trunk.{key}" for key in ours.trunk.state_dict()], R2GENCMN, 1)
    trunk_names = {key: value for key, value in names.items() if key.startswith(weights.TRUNK)}
    assert list(trunk_names) == list(theirs)  # the order, too: the released optimizer counts by it
    state = {v.removeprefix("backbone.trunk."): theirs[k] for k, v in trunk_names.items()}
    ours.trunk.load_state_dict(state, assign=True)
    side, num_patches = (224, 98) if name == "resnet18" else (64, 8)
    images = torch.randn(1, 2, 3, side, side)
    with torch.no_grad():
        features = ours.features(images)
        expected = torch.cat([trunk(view).flatten(2).transpose(1, 2) for view in images.unbind(1)], dim=1)
    assert features.shape == expected.shape == (1, num_patches, expected.shape[-1])
    assert expected.std() > 0.01
    difference = ((features - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: {difference:.1e} of the largest feature")
    assert difference < 1e-5


def test_what_the_released_code_leaves_of_a_densenet():
    assert list(released_trunk("densenet121").state_dict()) == []
    with pytest.raises(ReleasedFileError, match=r"leaves nothing of a DenseNet.* no trunk"):
        weights.trunk_name({"encoder_decoder.memory_matrix": None})
    with pytest.raises(ReleasedFileError, match="with a DenseNet trunk"):
        weights.trunk_name(["visual_extractor.model.0.denseblock1.denselayer1.norm1.weight"])


def test_another_trunk_is_refused_both_ways():
    with pytest.raises(ReleasedFileError, match=r"first key 'visual_extractor.model.0.weight', is no ResNet or VGG"):
        weights.trunk_name(["visual_extractor.model.0.weight", "visual_extractor.model.4.0.conv1.weight"])
    for name in ("resnet10t", "swin_tiny_patch4_window7_224"):
        with torch.device("meta"):
            names = [f"backbone.trunk.{key}" for key in Backbone(name, dim=8, pretrained=False).trunk.state_dict()]
        with pytest.raises(ReleasedFileError, match=r"'backbone.trunk.*' belongs to no ResNet or VGG"):
            weights.sources(names, R2GENCMN, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_there_and_back_is_bit_equal(name):
    family, memory = FAMILIES[name]
    model = make_model(family)
    ours = model.state_dict()
    theirs, names = export(model, family)
    assert families.recognize(theirs) is family
    assert families.sizes(theirs, family) == {**SIZES, **memory}
    again = weights.to_ours(theirs, make_model(family).state_dict(), names)
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[name], ours[name]) for name in ours)
    assert list(names) == list(theirs)
    assert sorted(name for name in names.values() if not name.startswith("(")) == sorted(ours)
    assert sum(name.startswith("(") for name in names.values()) == (8 + 2 if family is R2GENCMN else 1)


def test_the_sinusoids_are_those_that_the_model_computes():
    table = weights.sinusoid_table(8)
    assert table.shape == (1, 5000, 8)
    assert torch.allclose(table[0, :100], sinusoids(torch.arange(100), 8), atol=1e-5)


def _without(theirs, key):
    del theirs[key]


def _cut(theirs, key):
    theirs[key] = theirs[key][1:]


def _other(theirs, key):
    theirs[key] = theirs[key] + 0.5


def _half(theirs, key):
    theirs[key] = theirs[key].half()


def _more(theirs, key):
    theirs[key] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "key", "sentence"),
    [
        (_without, "encoder_decoder.logit.bias", "'encoder_decoder.logit.bias' is missing"),
        (_without, "visual_extractor.model.1.running_var", "'visual_extractor.model.1.running_var' is missing"),
        (_without, "encoder_decoder.model.cmn.linears.3.bias", "'encoder_decoder.model.cmn.linears.3.bias' is missing"),
        (_more, "encoder_decoder.logit.2.weight", "'encoder_decoder.logit.2.weight' is unexpected"),
        (_more, "visual_extractor.model.9.weight", "'visual_extractor.model.9.weight' is unexpected"),
        (_cut, "encoder_decoder.att_embed.0.bias", r"has the shape \(7,\) instead of"),
        (_half, "encoder_decoder.logit.bias", "'encoder_decoder.logit.bias' is of type torch.float16"),
        (_other, "encoder_decoder.model.cmn.linears.1.weight", "one weight, but differ"),
        (_other, "encoder_decoder.model.src_embed.0.pe", "does not hold the sinus"),
    ],
)  # fmt: skip
def test_whatever_does_not_fit_is_named(model, change, key, sentence):
    theirs, names = export(model)
    change(theirs, key)
    with pytest.raises(ReleasedFileError, match=sentence):
        weights.to_ours(theirs, model.state_dict(), names)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_size_is_read_from_a_weight_of_its_shape(name):
    family, _ = FAMILIES[name]
    theirs, _ = export(make_model(family), family)
    inner = "encoder_decoder.model.encoder.layers.0.feed_forward.w_1.bias"
    for key, value in {inner: torch.zeros(2, 2), "encoder_decoder.logit.weight": torch.zeros(0, 8)}.items():
        with pytest.raises(ReleasedFileError, match=f"'{key}' has the shape"):
            families.sizes({**theirs, key: value}, family)
    with pytest.raises(ReleasedFileError, match=f"'{inner}' is missing"):
        families.sizes({key: value for key, value in theirs.items() if key != inner}, family)


def test_other_models_are_refused():
    with pytest.raises(ReleasedFileError, match=r"'encoder_decoder.memory_matrix' .* are missing"):
        families.recognize({"fc.weight": torch.zeros(1)})


def test_what_no_result_depends_on_may_be_missing(model):
    """Files of older versions of torch do not count the batches of norms; sinusoids are computed."""
    theirs, names = export(model)
    left_out = [key for key in theirs if key.endswith((".pe", "num_batches_tracked"))]
    assert len(left_out) > 2
    for key in left_out:
        del theirs[key]
    again = weights.to_ours(theirs, model.state_dict(), names)
    assert again.keys() == model.state_dict().keys()
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items() if "num_b" not in name)


def test_a_model_that_the_released_code_lacks_is_not_exported(model):
    ours, names = dict(model.state_dict()), export(model)[1]
    with pytest.raises(ReleasedFileError, match=r"has 'memory.second.matrix'"):
        weights.to_theirs({**ours, "memory.second.matrix": torch.zeros(1)}, names)
    del ours["memory.network.value.bias"]
    with pytest.raises(ReleasedFileError, match=r"lacks 'memory.network.value.bias'"):
        weights.to_theirs(ours, names)
