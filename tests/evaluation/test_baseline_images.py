"""The nearest training study is the one that plain loops find."""

import numpy as np
import pytest
import torch

from r2cmn import ReportDataModule
from r2cmn.backbone import Backbone
from r2cmn.evaluation.baseline_images import StudyImages, batches, nearest, patches, pixels


class Seeing(torch.nn.Module):
    """What `patches` needs of a module: a model with a backbone."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.model = torch.nn.Module()
        self.model.backbone = Backbone("test_resnet", dim=16, pretrained=False, image_size=32)
        self.to(dtype).eval()


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_the_nearest_is_that_of_plain_loops(seed, batch_size):
    print(f"seed {seed}")
    torch.manual_seed(seed)
    queries, candidates = torch.randn(7, 1, 1, 2, 3).double(), torch.randn(23, 1, 1, 2, 3).double()
    found = nearest(
        iter(queries.split(batch_size)), iter(candidates.split(batch_size)), lambda images: images.flatten(1)
    )
    vectors = candidates.flatten(1).tolist()
    for query, position in zip(queries.flatten(1).tolist(), found, strict=True):
        values = [cosine(query, vector) for vector in vectors]
        assert position == values.index(max(values))


def test_of_equals_the_first_is_taken_within_a_batch_and_between_batches():
    image = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    other = torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2)
    candidates = torch.cat([other, image, image, other, image])
    for size in (1, 2, 5):
        assert nearest(iter([image]), iter(candidates.split(size)), lambda images: images.flatten(1)) == [1]


def test_without_a_candidate_there_is_no_nearest():
    with pytest.raises(ValueError, match="no training study"):
        nearest(iter([torch.ones(1, 1, 1, 1, 2)]), iter([]), lambda images: images.flatten(1))


def test_pixels_compare_by_correlation_whatever_the_brightness():
    torch.manual_seed(0)
    images = torch.rand(3, 2, 3, 64, 64).double()
    vectors = pixels(torch.cat([images, 0.5 * images + 2]))
    grey = images.mean(2).reshape(3, 2, 32, 2, 32, 2).mean((3, 5)).flatten(1).numpy()
    ours = torch.nn.functional.normalize(vectors, dim=1)
    assert (ours[:3] @ ours[:3].T).numpy() == pytest.approx(np.corrcoef(grey), abs=1e-12)
    assert (ours[:3] * ours[3:]).sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-12)


def test_patches_are_averaged_over_all_views_and_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    seeing = Seeing()
    images = torch.rand(3, 2, 3, 32, 32).double()
    found = patches(seeing, torch.device("cpu"))(images)
    assert found.dtype == torch.float64
    assert found.shape == (3, 16)
    for study, vector in zip(images, found, strict=True):
        both = [seeing.model.backbone(view[None, None]).mean(1)[0] for view in study]
        torch.testing.assert_close(vector, (both[0] + both[1]) / 2, rtol=1e-9, atol=1e-12)


def test_half_precision_is_compared_in_single():
    found = patches(Seeing(torch.bfloat16), torch.device("cpu"))(torch.rand(2, 1, 3, 32, 32))
    assert found.dtype == torch.float32


@pytest.mark.parametrize("num_workers", [0, 1])
def test_images_are_those_of_a_test_and_in_order(make_dataset, tmp_path, num_workers):
    data = ReportDataModule(
        make_dataset(tmp_path, num_studies=12), images={"resize": 40, "size": 32}, batch_size=4, num_workers=num_workers
    )
    data.setup()
    found = torch.cat(list(batches(data, data.studies["train"], "images")))
    assert found.shape == (6, 2, 3, 32, 32)
    assert torch.equal(torch.cat(list(batches(data, data.studies["test"], "images"))),
                       torch.cat([batch.images for batch in data.test_dataloader()]))  # fmt: skip
    images = StudyImages(data.studies["train"], data.transform, 1)
    assert torch.equal(torch.stack(list(images)), found[:, :1])
