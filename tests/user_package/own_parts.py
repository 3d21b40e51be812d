"""A backbone, a memory, an encoder-decoder and a loss as a user writes them, with only what the protocols ask for."""

import torch
from torch import nn


class Blocks(nn.Module):
    """Means of image blocks, without attributes beside its layer."""

    def __init__(self, dim, side=8):
        super().__init__()
        self.side = side
        self.map = nn.Linear(3, dim)

    def forward(self, images):
        means = nn.functional.avg_pool2d(images.flatten(0, 1), self.side)
        return self.map(means.flatten(2).transpose(1, 2)).unflatten(0, images.shape[:2]).flatten(1, 2)


class Bank(nn.Module):
    def __init__(self, dim, size=4):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(size, dim) / dim)

    def visual(self, patches):
        return patches + (patches @ self.vectors.T).softmax(-1) @ self.vectors

    textual = visual


class Saying(Bank):
    """A memory that says its arguments itself."""

    def __init__(self, dim, size=4):
        super().__init__(dim, size)
        self.arguments = {"dim": dim, "size": size}

    def description(self):
        return self.arguments


class Gated(nn.Module):
    """A GRU over words that starts from the mean patch."""

    def __init__(self, vocabulary_size, dim):
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, dim)
        self.cell = nn.GRUCell(dim, dim)
        self.output = nn.Linear(dim, vocabulary_size)

    def encode(self, patches):
        return {"mean": patches.mean(1)}

    def embed(self, tokens, position):
        return self.words(tokens)

    def start(self, source):
        return {"position": source["mean"].new_zeros(len(source["mean"]), dtype=torch.long), "hidden": source["mean"]}

    def step(self, tokens, words, state):
        hidden = self.cell(words[:, 0], state["hidden"])
        return self.output(hidden).log_softmax(-1), {"position": state["position"] + 1, "hidden": hidden}

    def decode(self, tokens, words, source):
        state, found = self.start(source), []
        for column, word in zip(tokens.unbind(1), words.unbind(1), strict=True):
            log_p, state = self.step(column, word[:, None], state)
            found.append(log_p)
        return torch.stack(found, 1)


class Reading(Gated):
    """Maps patches of any width to the width of the words."""

    def __init__(self, vocabulary_size, dim, patch_dim):
        super().__init__(vocabulary_size, dim)
        self.patches = nn.Linear(patch_dim, dim)

    def encode(self, patches):
        return super().encode(self.patches(patches))


class Likelihood:
    """A loss without arguments."""

    def __call__(self, context, batch):
        log_p = context.model(batch.images, batch.targets[:, :-1])
        return nn.functional.nll_loss(log_p.flatten(0, 1), batch.targets[:, 1:].flatten(), ignore_index=-1)
