"""Trunks of timm's classes with few channels and blocks, which build and run in a fraction of the time."""

from timm.layers import BatchNormAct2d
from timm.models._features import FeatureListNet
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.resnetv2 import ResNetV2
from timm.models.vgg import VGG
from torch import nn

from r2cmn.backbone import Backbone

CHANNELS = {"layers": (2, 1), "channels": (8, 16)}
NARROW = {
    "narrow resnet18": lambda: ResNet(BasicBlock, **CHANNELS),
    "narrow resnet26d": lambda: ResNet(Bottleneck, stem_type="deep", stem_width=8, avg_down=True, **CHANNELS),
    "narrow resnext50": lambda: ResNet(Bottleneck, cardinality=4, base_width=32, **CHANNELS),
    "narrow resnetv2": lambda: ResNetV2((1, 1), (32, 64), stem_chs=8, norm_layer=BatchNormAct2d),
    "narrow vgg_bn": lambda: VGG((8, "M", 16, "M"), norm_layer=nn.BatchNorm2d, num_classes=0),
}


def build(name: str, dim: int, **options) -> Backbone:
    """Build a backbone with a trunk of timm or of `NARROW`."""
    if name not in NARROW:
        return Backbone(name, dim=dim, pretrained=False, dropout=0.0, **options)
    built = Backbone("test_resnet", dim=dim, pretrained=False, dropout=0.0, **options)
    network = NARROW[name]()
    built.trunk = FeatureListNet(network, out_indices=(-1,), flatten_sequential=not isinstance(network, ResNet))
    built.projection[0] = nn.Linear(built.trunk.feature_info.channels()[-1], dim)
    return built
