"""A backbone, a memory and an encoder-decoder of one's own: each has only what its protocol asks for."""

import torch
from torch import nn

from r2cmn import Described


class Blocks(Described, nn.Module):
    def __init__(self, dim: int, side: int = 16):
        super().__init__()
        self.convolution = nn.Conv2d(3, dim, side, stride=side)

    def forward(self, images):  # (B, I, 3, H, W) -> (B, S, D)
        maps = self.convolution(images.flatten(0, 1)).relu()
        return maps.flatten(2).transpose(1, 2).unflatten(0, images.shape[:2]).flatten(1, 2)


class Bank(Described, nn.Module):
    def __init__(self, dim: int, size: int = 16):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(size, dim) / dim**0.5)

    def visual(self, patches):
        return patches + (patches @ self.vectors.T).softmax(-1) @ self.vectors

    textual = visual


class Gated(Described, nn.Module):
    def __init__(self, vocabulary_size: int, dim: int):
        super().__init__()
        self.words, self.cell = nn.Embedding(vocabulary_size, dim), nn.GRUCell(2 * dim, dim)
        self.output = nn.Linear(dim, vocabulary_size)

    def encode(self, patches):
        return {"mean": patches.mean(1)}

    def embed(self, tokens, position):
        return self.words(tokens)

    def start(self, source):
        return {"position": source["mean"].new_zeros(len(source["mean"]), dtype=torch.long),
                "hidden": source["mean"], "mean": source["mean"]}  # fmt: skip

    def step(self, tokens, words, state):
        hidden = self.cell(torch.cat([words[:, 0], state["mean"]], -1), state["hidden"])
        following = {**state, "position": state["position"] + 1, "hidden": hidden}
        return self.output(hidden).log_softmax(-1), following

    def decode(self, tokens, words, source):
        state, found = self.start(source), []
        for column, word in zip(tokens.unbind(1), words.unbind(1), strict=True):
            log_p, state = self.step(column, word[:, None], state)
            found.append(log_p)
        return torch.stack(found, 1)
