"""Trains the parts on drawn phantoms with a plain Trainer and writes own_parts.ckpt."""

import sys
from functools import partial

import pytorch_lightning as pl
import torch

from parts import Bank, Blocks, Gated
from r2cmn import CMNModule, CrossEntropy, Greedy, PhantomDataModule

data = PhantomDataModule(num_studies=int(sys.argv[1]) if len(sys.argv) > 1 else 400, num_workers=0)
data.setup()
module = CMNModule.from_parts(
    backbone=Blocks(dim=64),
    memory=Bank(dim=64, size=32),
    encoder_decoder=Gated(data.tokenizer.vocabulary_size, dim=64),
    data=data,
    objective=CrossEntropy(),
    optimizer=partial(torch.optim.AdamW, lr=2e-3),
    generation=Greedy(),
)
trainer = pl.Trainer(max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False)
trainer.fit(module, datamodule=data)
trainer.save_checkpoint("own_parts.ckpt")
print(trainer.predict(module, data.test_dataloader())[0][0])
