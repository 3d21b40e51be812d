"""From images to patches, with timm's smallest models."""

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from r2cmn.backbone import Backbone
from r2cmn.encoder_decoder.transformer import Transformer
from r2cmn.memory import NoMemory
from r2cmn.model import CMN


class Squares(nn.Module):
    """A trunk whose feature map is the mean color of 2 x 3 tiles, so that every patch can be distinguished."""

    def __init__(self, output_fmt="NCHW"):
        super().__init__()
        self.output_fmt = output_fmt

    def forward(self, images):
        pooled = nn.functional.adaptive_avg_pool2d(images, (2, 3))
        return [pooled.permute(0, 2, 3, 1) if self.output_fmt == "NHWC" else pooled]


def small(**options):
    return Backbone("test_resnet", dim=8, pretrained=False, **options)


def randomize_statistics(backbone):
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return backbone


@pytest.mark.parametrize("output_fmt", ["NCHW", "NHWC"])
def test_patches_are_ordered_by_view_then_by_row(output_fmt):
    backbone = small().eval()
    backbone.trunk = Squares(output_fmt)
    images = torch.randn(2, 2, 3, 4, 6)
    features = backbone.features(images)
    assert features.shape == (2, 2 * 6, 3)
    for study in range(2):
        for view in range(2):
            for row in range(2):
                for column in range(3):
                    tile = images[study, view, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                    patch = features[study, view * 6 + row * 3 + column]
                    torch.testing.assert_close(patch, tile.mean((1, 2)))


@pytest.mark.parametrize(
    ("name", "size", "num_patches"),
    [
        ("resnet18", 224, 49),
        ("resnet10t", 112, 16),
        ("vgg16", 112, 9),
        ("densenet121", 112, 9),
        ("vit_tiny_patch16_224", 112, 49),
        ("swin_tiny_patch4_window7_224", 112, 16),
    ],
)
def test_trunks_of_every_kind(name, size, num_patches):
    with torch.device("meta"):
        backbone = Backbone(name, dim=8, pretrained=False, image_size=size)
        patches = backbone(torch.zeros(2, 2, 3, size, size))
    assert patches.shape == (2, 2 * num_patches, 8)


@torch.no_grad()
def test_the_projection_is_linear_relu():
    backbone = small().eval()
    features = torch.randn(2, 4, backbone.projection[0].in_features)
    linear = backbone.projection[0]
    expected = (features @ linear.weight.T + linear.bias).clamp(min=0)
    torch.testing.assert_close(backbone.project(features), expected)
    images = torch.randn(2, 1, 3, 64, 64)
    assert torch.equal(backbone(images), backbone.project(backbone.features(images)))


@torch.no_grad()
@pytest.mark.parametrize(("projection", "width"), [("relu", 8), ("linear", 8), (None, 96)])
def test_the_projection_can_be_linear_or_absent(projection, width):
    backbone = small(projection=projection).eval()
    assert (backbone.feature_dim, backbone.patch_dim) == (96, width)
    images = torch.randn(2, 1, 3, 64, 64)
    features = backbone.features(images)
    expected = features if projection is None else backbone.projection[0](features)
    expected = expected.relu() if projection == "relu" else expected
    torch.testing.assert_close(backbone(images), expected, rtol=0, atol=0)
    assert torch.equal(backbone(features.half()), backbone.project(features.half().float()))  # cached features


def test_an_unknown_projection_is_refused():
    with pytest.raises(ValueError, match=r"backbone\.projection"):
        small(projection="tanh")


@torch.no_grad()
def test_in_evaluation_mode_a_view_does_not_depend_on_the_others():
    backbone = randomize_statistics(small()).double().eval()
    images = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64)
    together = backbone(images)
    apart = [[backbone(images[study : study + 1, view : view + 1])[0] for view in range(2)] for study in range(2)]
    torch.testing.assert_close(together, torch.stack([torch.cat(views) for views in apart]))


@torch.no_grad()
def test_in_training_mode_batch_norm_sees_the_views_apart():
    backbone = small().double()
    images = torch.randn(3, 2, 3, 64, 64, dtype=torch.float64)
    images[:, 1] = images[:, 1] * 5 + 3  # lateral views look otherwise
    twin = small().double()
    twin.load_state_dict(backbone.state_dict())
    features = backbone.features(images)
    torch.testing.assert_close(features, torch.cat([twin.features(images[:, [i]]) for i in range(2)], dim=1))
    for (name, ours), theirs in zip(backbone.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    folded = twin.trunk(images.flatten(0, 1))[-1].flatten(2).transpose(1, 2).reshape(features.shape)
    assert not torch.allclose(features, folded)


def test_a_frozen_trunk_learns_nothing():
    backbone = small(frozen=True).train()
    assert not any(module.training for module in backbone.trunk.modules())
    assert backbone.projection.training
    before = {name: value.clone() for name, value in backbone.trunk.state_dict().items()}
    backbone(torch.randn(2, 2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is None for parameter in backbone.trunk.parameters())
    assert not any(parameter.requires_grad for parameter in backbone.trunk.parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.trunk.state_dict().items())
    assert backbone.projection[0].weight.grad is not None
    assert not backbone.features(torch.randn(1, 1, 3, 64, 64, requires_grad=True)).requires_grad


def test_a_trunk_learns_unless_it_is_frozen():
    backbone = small()
    backbone(torch.randn(2, 1, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.trunk.parameters())
    with torch.no_grad():
        assert not backbone.features(torch.randn(1, 1, 3, 64, 64)).requires_grad


def test_an_unknown_trunk_names_similar_ones():
    with pytest.raises(ValueError, match=r"backbone.name: timm has no model 'resnet102'; did you mean .*resnet101"):
        Backbone("resnet102", pretrained=False)


# --- weights ---


def write(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state} if path.stem == "wrapped" else state, path)
    return str(path)


@torch.no_grad()
@pytest.mark.parametrize("filename", ["plain.pth", "wrapped.pth", "plain.safetensors"])
@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("test_vit", 64), ("test_convnext", 64)])
def test_weights_are_read_from_a_file(name, size, filename, tmp_path):
    options = {"img_size": size} if name == "test_vit" else {}
    whole = timm.create_model(name, num_classes=5, **options).eval()
    path = write(whole.state_dict(), tmp_path / filename)
    backbone = Backbone(name, dim=8, pretrained=path, image_size=size).eval()
    images = torch.randn(1, 3, size, size)
    expected = whole.forward_intermediates(images, indices=1, intermediates_only=True, norm=False)[0]
    torch.testing.assert_close(backbone.features(images[:, None]), expected.flatten(2).transpose(1, 2))


def test_the_trunk_of_our_own_checkpoint_can_be_lent(tmp_path):
    """One training, then ablations on its frozen trunk: the checkpoint holds much besides."""
    whole = CMN(small(), NoMemory(), Transformer(5, 16, num_layers=1, num_heads=2))
    state = {f"model.{name}": value + 0.5 for name, value in whole.state_dict().items() if value.is_floating_point()}
    torch.save({"state_dict": state, "hyper_parameters": {}, "epoch": 3}, tmp_path / "best.ckpt")
    lent = Backbone("test_resnet", dim=8, pretrained=str(tmp_path / "best.ckpt"))
    for name, value in lent.trunk.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, state[f"model.backbone.trunk.{name}"])


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    lacking = {name: value for name, value in state.items() if name != "layer1.0.conv1.weight"}
    with pytest.raises(ValueError, match=r"does not fit 'test_resnet': it has no 'layer1.0.conv1.weight'"):
        Backbone("test_resnet", pretrained=write(lacking, tmp_path / "lacking.pth"))
    other = {**state, "layer1.0.conv1.weight": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"has \(3,\), not \(.*\), for 'layer1.0.conv1.weight'"):
        Backbone("test_resnet", pretrained=write(other, tmp_path / "other.pth"))
    with pytest.raises(ValueError, match=r"backbone.pretrained: there is no file '.*nowhere.pth'"):
        Backbone("test_resnet", pretrained=str(tmp_path / "nowhere.pth"))
    damaged = tmp_path / "lacking.pth"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1  # a weight, which torch would load
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"'.*lacking.pth' is damaged: the checksum"):
        Backbone("test_resnet", pretrained=str(damaged))
    (tmp_path / "noise.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"'.*noise.pth' is not a file of weights"):
        Backbone("test_resnet", pretrained=str(tmp_path / "noise.pth"))


class _Trap:
    def __reduce__(self):
        return (print, ("code from a file ran",))


def test_a_file_of_weights_is_data_never_code(tmp_path, capsys):
    torch.save({"conv1.weight": _Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match="is not a file of weights"):
        Backbone("test_resnet", pretrained=str(tmp_path / "trap.pth"))
    assert "ran" not in capsys.readouterr().out


@pytest.fixture
def no_hub(monkeypatch):
    """An empty cache, and a hub at a port where nobody answers."""
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_unreachable_weights_are_reported_with_the_next_step(no_hub, monkeypatch):
    asked = []  # the hub's own attempts go on for the better part of a minute
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: asked.append(1))
    with pytest.raises(ValueError, match="the hub cannot be reached") as raised:
        Backbone("resnet18")
    assert not asked
    assert "backbone.pretrained=false" in str(raised.value)
    assert "backbone.pretrained=/path/to/weights" in str(raised.value)
    assert "\n" not in str(raised.value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set"):
        Backbone("resnet18")


def test_a_failed_download_is_reported(no_hub, monkeypatch):
    monkeypatch.setattr("r2cmn.backbone._is_reachable", lambda address: True)

    def broken(*args, **options):
        raise ConnectionError("reset by peer")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", broken)
    with pytest.raises(ValueError, match=r"could not be fetched .*backbone.pretrained=false"):
        Backbone("test_resnet")


def test_cached_weights_need_no_hub(no_hub, monkeypatch, tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    path = write(state, tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: path)
    trunk = Backbone("test_resnet").trunk.state_dict()
    assert trunk
    assert all(torch.equal(value, state[name]) for name, value in trunk.items())


def map_layout(backbone, images, module="layer1"):
    """How a feature map within the trunk is laid out."""
    found = []
    handle = backbone.trunk.get_submodule(module).register_forward_hook(lambda *given: found.append(given[-1]))
    backbone(images)
    handle.remove()
    is_last = found[0].is_contiguous(memory_format=torch.channels_last)
    assert is_last != found[0].is_contiguous()
    return "channels last" if is_last else "channels first"


@pytest.mark.parametrize(
    ("capability", "name", "asked", "expected"),
    [
        ("AVX512", "test_resnet", None, "channels last"),
        ("AVX512", "test_resnet", False, "channels first"),
        ("AVX2", "test_resnet", None, "channels first"),
        ("AVX2", "test_resnet", True, "channels last"),
        ("AVX512", "test_convnext", None, "channels first"),  # no batch norm: it did not pay
    ],
)
def test_channels_are_put_last_where_it_pays_or_is_asked_for(capability, name, asked, expected, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    backbone = Backbone(name, dim=8, pretrained=False, channels_last=asked).train()
    module = "stem_0" if "convnext" in name else "layer1"
    assert map_layout(backbone, torch.randn(2, 1, 3, 64, 64), module) == expected


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "last"), [(8, 1, 2, False), (16, 1, 2, True), (8, 1, 1, True)]
)
@pytest.mark.parametrize("asked", [True, None])
def test_channels_are_never_last_where_that_writes_past_a_workspace(channels, kernel, stride, last, asked, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    backbone = small(channels_last=asked)
    backbone.trunk.layer1[0].append = nn.Conv2d(channels, 8, kernel, stride)  # is not run: its presence counts
    layout = map_layout(backbone, torch.randn(2, 1, 3, 64, 64))
    assert layout == ("channels last" if last else "channels first")


def test_float64_keeps_its_layout_unless_asked(monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    images = torch.randn(2, 1, 3, 64, 64, dtype=torch.float64)
    assert map_layout(small().double(), images) == "channels first"


@pytest.mark.parametrize("asked", [True, None])
def test_weights_keep_their_layout_and_so_does_the_state_of_an_optimizer(asked, monkeypatch):
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    backbone = small(channels_last=asked)
    optimizer = torch.optim.Adam(backbone.parameters(), fused=True)
    backbone(torch.randn(2, 1, 3, 64, 64)).sum().backward()
    optimizer.step()
    for parameter, state in optimizer.state.items():
        assert parameter.is_contiguous()
        assert all(value.is_contiguous() for value in state.values())
    assert optimizer.state


def test_channels_last_is_the_same_function_with_the_same_checkpoints():
    plain = small(dropout=0.0, channels_last=False).double()
    last = small(dropout=0.0, channels_last=True).double()
    last.load_state_dict(plain.state_dict())
    images = torch.randn(2, 2, 3, 32, 32, dtype=torch.float64)
    assert (map_layout(plain, images), map_layout(last, images)) == ("channels first", "channels last")
    for mode in (True, False):
        a, b = plain.train(mode)(images), last.train(mode)(images)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
        found = torch.autograd.grad(b.sum(), list(last.parameters()))
        for ours, theirs in zip(found, torch.autograd.grad(a.sum(), list(plain.parameters())), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_kept_features_are_projected_as_the_trunk_would_have_been():
    backbone = small(frozen=True, dropout=0.0).double()
    images = torch.randn(3, 2, 3, 32, 32, dtype=torch.float64)
    patches = backbone(images)
    features = backbone.features(images)
    torch.testing.assert_close(backbone(features), patches, rtol=0, atol=1e-10)
    kept = backbone(features.half())
    assert kept.dtype == torch.float64
    torch.testing.assert_close(kept, patches, rtol=1e-3, atol=1e-3)
    assert not torch.equal(kept, patches)
