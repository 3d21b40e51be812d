"""The half of the module that writes reports: images or files to token ids and words.

Shapes: B studies, I views, T words.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor

from r2cmn.data.images import ImageTransform, Study, read_studies
from r2cmn.data.tokenizer import Tokenizer
from r2cmn.encoder_decoder.wording import to_words
from r2cmn.generation.beam_search import with_beams
from r2cmn.model import CMN
from r2cmn.parts import build_generation
from r2cmn.types import Batch, Config, Generation, Hypotheses, Source


class Writing(pl.LightningModule):
    """Writes reports with a model.

    Attributes:
        model: the composite model.
        tokenizer: of the reports.
        transform: prepares the images.
        num_views: images of a study in training.
        generation: the way to write reports.
        license_class: of the training data.
    """

    model: CMN
    tokenizer: Tokenizer
    transform: ImageTransform
    num_views: int
    generation: Generation
    license_class: str

    def write(self, images: Tensor, generation: Generation | None = None) -> Hypotheses:
        """Write a report for each study of a batch of normalized images (B, I, 3, H, W), as token ids."""
        with torch.inference_mode():
            return self._write(self.model.encode(images), generation or self.generation)

    def sample(
        self, images: Tensor | Source, generation: Generation | None = None, dropout: bool = False
    ) -> Hypotheses:
        """Write reports for an objective, without gradients.

        The tokens may be passed to `model(images, tokens)`, which returns their log-probabilities with gradients.

        Args:
            images: a batch of normalized images, or what `model.encode` returned for one.
            generation: the way to write them; default: the module's own.
            dropout: whether the model stays in training mode; batch norms then count `images` once more.
        """
        was_training = self.model.training
        self.model.train(was_training and dropout)
        try:
            with torch.no_grad():  # not inference mode: its tensors cannot take part in a backward pass
                source = self.model.encode(images) if isinstance(images, Tensor) else images
                return self._write(source, generation or self.generation)
        finally:
            self.model.train(was_training)

    def _write(self, source: Source, generation: Generation) -> Hypotheses:
        """Decode words in float32: autocast, which the trunk follows, makes single words no faster."""
        device = next(iter(source.values())).device.type
        with torch.autocast(device, enabled=False):
            dtype = next(self.model.parameters()).dtype
            source = {name: value.to(dtype) if value.is_floating_point() else value for name, value in source.items()}
            return generation(self.model.step, self.model.start(source))

    def to_words(self, tokens: Tensor) -> list[str]:
        """Turn rows of token ids (B, T), without their opening 0, into reports."""
        return [to_words(self.model.encoder_decoder, row, self.tokenizer) for row in tokens.tolist()]

    def generate(
        self,
        studies: Batch | Tensor | Sequence[Study],
        num_beams: int | None = None,
        generation: Generation | Config | None = None,
    ) -> list[str]:
        """Write the report of each study.

        Args:
            studies: a batch of a data module, normalized images (B, I, 3, H, W), or a list of studies, each a list of
                image files or pictures, one per view. Images are preprocessed as in training.
            num_beams: of a beam search, instead of the module's own way to write reports.
            generation: another way to write them, or its description.

        Returns:
            One report per study.

        Raises:
            ValueError: if studies differ in their number of views, or a file is not an image.
        """
        if isinstance(studies, Batch | Tensor):
            images = studies.images if isinstance(studies, Batch) else studies
        elif isinstance(studies, dict):
            raise ValueError("studies are a dict: give a r2cmn.types.Batch, its images, or a list of studies")
        else:
            images = self.read(studies)
        if images.dim() != 5 and not isinstance(studies, Batch):
            raise ValueError(f"images are of shape (B, I, 3, H, W), not {tuple(images.shape)}")
        was_training = self.training
        self.eval()
        try:
            return self.to_words(self.write(images.to(self.device), self._way(num_beams, generation)).tokens)
        finally:
            self.train(was_training)

    forward = generate

    def _way(self, num_beams: int | None, generation: Generation | Config | None) -> Generation:
        if generation is not None and num_beams is not None:
            raise ValueError("generate takes num_beams or generation, not both")
        if num_beams is not None:
            return with_beams(self.generation, num_beams)
        if isinstance(generation, dict):
            return build_generation(generation, self.model, self.tokenizer)
        return generation or self.generation

    def read(self, studies: Sequence[Study]) -> Tensor:
        """Read and preprocess studies: (B, I, 3, H, W), see `r2cmn.data.images.read_studies`."""
        return read_studies(studies, self.transform)
