"""Invented reports, and the three systems that write sentence after sentence, made small for them."""

from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from r2cmn.build import build
from r2cmn.data.reports import Study
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import annotate, to_targets
from r2cmn.groups import conf_dir
from r2cmn.memory import NoMemory
from r2cmn.model import CMN

REPORTS = [
    "The lungs are clear. The heart is normal in size. No pneumothorax.",
    "The lungs are clear. No pleural effusion or pneumothorax.",
    "There is a small left pleural effusion. The heart is enlarged. No pneumothorax.",
    "The heart is normal in size. The lungs are clear.",
    "There is a right lower lobe opacity. No pneumothorax. The heart is normal in size.",
    "Low lung volumes. There is bibasilar atelectasis. No pneumothorax.",
    "The heart is enlarged. The lungs are clear.",
    "No acute disease.",
]
NUM_PATCHES, DIM = 5, 12


def studies_of(reports, labels=None):
    return [Study(f"s{i}", report, (), "train", labels=labels and labels[i]) for i, report in enumerate(reports)]


def make(name, reports=REPORTS, dim=DIM, num_templates=4, **options):
    """Build a system for reports, in float64, with weights that make words stand out."""
    description = yaml.safe_load((conf_dir() / "encoder_decoder" / f"{name}.yaml").read_text())
    description |= {"dim": dim} | ({"num_templates": num_templates} if name == "hrgr" else {}) | options
    tokenizer = Tokenizer.build(reports, threshold=1)
    offered = {"tokenizer": tokenizer, "vocabulary_size": tokenizer.vocabulary_size}
    offered |= {"patch_dim": dim, "feature_dim": dim}
    offered["annotations"] = annotate(description, studies_of(reports), tokenizer)
    return build(description, "encoder_decoder", offered).double(), tokenizer


@pytest.fixture
def make_system():
    return make


@pytest.fixture
def make_studies():
    return studies_of


@pytest.fixture(params=["coatt", "hrgr", "cmas"])
def system(request):
    """A system in evaluation mode, its tokenizer, the reports' targets (B, T) and random images of them."""
    torch.manual_seed(1)
    encoder_decoder, tokenizer = make(request.param)
    for parameter in encoder_decoder.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model = CMN(Given(), NoMemory(), encoder_decoder).double().eval()
    rows = [torch.tensor(to_targets(encoder_decoder, report, tokenizer)) for report in REPORTS]
    return SimpleNamespace(
        name=request.param, model=model, encoder_decoder=encoder_decoder, tokenizer=tokenizer, reports=REPORTS,
        targets=pad_sequence(rows, batch_first=True), images=3 * torch.randn(len(rows), NUM_PATCHES, DIM).double(),
    )  # fmt: skip


class Given(nn.Identity):
    """The patches stand for the images and for the features of the trunk."""

    features = project = nn.Identity.forward


@pytest.fixture
def make_model():
    return lambda encoder_decoder: CMN(Given(), NoMemory(), encoder_decoder)
