"""The arithmetic of the released R2GenCMN code in our own words, on the parameters of a `CMN`.

What matters for time and memory is kept: the matrix is expanded over the batch and projected for every row of it, the
values of the K queried vectors are gathered, attention is three plain operations, and decoding sends the whole prefix
through the memory at every step, joins all caches anew, copies them when beams change places, and keeps the
log-probabilities of the whole vocabulary of every beam. `tests/test_benchmarks.py` holds its numbers to ours.

Shapes: B studies or rows, L features, N vectors, K queried, D `dim`, S patches, T words, b beams, W columns.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from r2cmn.encoder_decoder.attention import MultiHeadAttention
from r2cmn.encoder_decoder.layers import LayerNorm, sinusoids
from r2cmn.memory import MemoryNetwork
from r2cmn.types import Batch

Past = tuple[Tensor, Tensor]
"""Keys and values of all layers, of the words so far (2 * layers, B, T, D) and of the patches (2 * layers, B, S, D)."""


def respond(network: MemoryNetwork, features: Tensor) -> Tensor:
    """Respond to features (B, L, D): the matrix is projected for each of the B, values gathered for each feature."""
    batch, length, dim = features.shape
    threads, size = network.num_threads, dim // network.num_threads
    matrix = network.matrix.unsqueeze(0).expand(batch, -1, -1)
    query, key, value = (
        linear(rows).view(batch, -1, threads, size).transpose(1, 2)
        for linear, rows in ((network.query, features), (network.key, matrix), (network.value, matrix))
    )
    kept, queried = (query @ key.transpose(2, 3) / math.sqrt(size)).topk(network.num_queried, dim=-1)
    values = value.unsqueeze(2).expand(-1, -1, length, -1, -1)
    values = values.gather(3, queried.unsqueeze(-1).expand(*queried.shape, size))  # (B, threads, L, K, size)
    responses = (network.dropout(kept.softmax(-1)).unsqueeze(3) @ values).squeeze(3)
    return network.output(responses.transpose(1, 2).reshape(batch, length, dim))


def norm(layer: LayerNorm, rows: Tensor) -> Tensor:
    """Norm rows (..., D) by the unbiased deviation, one operation after the other."""
    mean, deviation = rows.mean(-1, keepdim=True), rows.std(-1, keepdim=True)
    return layer.weight * (rows - mean) / (deviation + layer.eps) + layer.bias


def attend(attention: MultiHeadAttention, asking: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Let rows (B, L, D) read projected keys and values (B, S, D)."""
    heads = attention.num_heads
    q, k, v = (rows.unflatten(-1, (heads, -1)).transpose(1, 2) for rows in (attention.query(asking), keys, values))
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    weights = F.dropout(scores.softmax(-1), attention.dropout, attention.training)
    return attention.output((weights @ v).transpose(1, 2).contiguous().flatten(2))


class Released:
    """The released model on the parts of a `CMN` with a CrossModalMemory and a Transformer.

    Args:
        model: whose parameters are used; they are not copied.
    """

    def __init__(self, model: Any) -> None:
        self.backbone = model.backbone
        self.network: MemoryNetwork = model.memory.network
        self.transformer = model.encoder_decoder

    def __call__(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Teacher forcing: images (B, I, 3, H, W), tokens (B, T) -> log-probabilities (B, T, W)."""
        return self.read(tokens, self.encode(images))[0]

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch: log-probabilities are masked by multiplication."""
        read, target = batch.tokens[:, :-1], batch.tokens[:, 1:]
        mask = torch.cat([torch.ones_like(read[:, :1]), read[:, 1:].sign()], dim=1).to(batch.images.dtype)
        log_p = self(batch.images, read)
        return (-log_p.gather(2, target.unsqueeze(2)).squeeze(2) * mask).sum() / mask.sum()

    def encode(self, images: Tensor) -> Tensor:
        """Read images (B, I, 3, H, W), one view after the other: (B, S, D)."""
        patches = torch.cat([self.backbone.features(view.unsqueeze(1)) for view in images.unbind(1)], dim=1)
        patches = self.backbone.project(patches)
        patches = patches + respond(self.network, patches)
        places = torch.arange(patches.shape[1], device=patches.device)
        rows = self.transformer.dropout(patches + sinusoids(places, patches.shape[2], patches.dtype))
        for layer in self.transformer.encoder:
            normed = norm(layer.self_norm, rows)
            attention = layer.self_attention
            read = attend(attention, normed, attention.key(normed), attention.value(normed), None)
            rows = rows + layer.dropout(read)
            rows = rows + layer.dropout(layer.feed_forward(norm(layer.feed_forward_norm, rows)))
        return norm(self.transformer.encoder_norm, rows)

    def read(self, tokens: Tensor, encoded: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """Read a whole prefix (B, T): log-probabilities of each word, with a past of the newest alone, and the past."""
        words = self.transformer.embed(tokens, tokens.new_zeros(1))
        words = words + respond(self.network, words)
        length = tokens.shape[1]
        visible = (tokens > 0) | (torch.arange(length, device=tokens.device) == 0)
        causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        mask = (visible[:, None, :] & causal)[:, None]
        if past is not None:
            words, mask = words[:, -1:], mask[:, :, -1:]
        presents: tuple[list[Tensor], list[Tensor]] = ([], [])
        for i, layer in enumerate(self.transformer.decoder):
            normed, own = norm(layer.self_norm, words), layer.self_attention
            keys, values = own.key(normed), own.value(normed)
            if past is not None:
                keys, values = torch.cat([past[0][2 * i], keys], 1), torch.cat([past[0][2 * i + 1], values], 1)
            presents[0].extend((keys, values))
            words = words + layer.dropout(attend(own, normed, keys, values, mask))
            normed, cross = norm(layer.cross_norm, words), layer.cross_attention
            if past is None:
                keys, values = cross.key(encoded), cross.value(encoded)
            else:
                keys, values = past[1][2 * i], past[1][2 * i + 1]
            presents[1].extend((keys, values))
            words = words + layer.dropout(attend(cross, normed, keys, values, None))
            words = words + layer.dropout(layer.feed_forward(norm(layer.feed_forward_norm, words)))
        log_p = self.transformer.output(norm(self.transformer.decoder_norm, words)).log_softmax(-1)
        return log_p, (torch.stack(presents[0]), torch.stack(presents[1]))

    def search(self, images: Tensor, num_beams: int = 3, max_length: int = 60) -> tuple[Tensor, Tensor]:
        """Write one report a study by beam search, all steps: tokens (B, L), sums (B,)."""
        encoded = self.encode(images)
        size = len(encoded)
        prefix = torch.zeros(size, 1, dtype=torch.long, device=images.device)
        log_p, past = self.read(prefix, encoded)
        log_p = log_p[:, -1].view(size, 1, -1)
        sums = log_p.new_zeros(size, 1)
        history = log_p.new_zeros(size, 1, 0, log_p.shape[2])
        tokens = prefix.new_zeros(size, 1, 0)
        stored: list[list[tuple[float, Tensor, Tensor]]] = [[] for _ in range(size)]
        for step in range(max_length):
            candidates = (sums.unsqueeze(2) + log_p).flatten(1)
            ordered, order = candidates.sort(1, descending=True)
            sums, order = ordered[:, :num_beams], order[:, :num_beams]
            beams, words = order // log_p.shape[2], order % log_p.shape[2]
            tokens = torch.cat([_of(tokens, beams), words.unsqueeze(2)], 2)
            history = torch.cat([_of(history, beams), _of(log_p, beams).unsqueeze(2)], 2)
            ended = (words == 0) | (step == max_length - 1)
            for study, beam in ended.nonzero().tolist():
                entry = (sums[study, beam].item(), tokens[study, beam].clone(), history[study, beam].clone())
                stored[study].append(entry)
            sums = sums - 1000 * ended
            if step == max_length - 1:
                break
            rows = (beams + log_p.shape[1] * torch.arange(size, device=beams.device)[:, None]).flatten()
            past = past[0][:, rows], past[1][:, rows]
            prefix = torch.cat([prefix[rows], words.view(-1, 1)], 1)
            log_p, past = self.read(prefix, encoded, past)
            log_p = log_p.view(size, num_beams, -1)
        best = [max(entries, key=lambda entry: entry[0]) for entries in stored]
        answer = prefix.new_zeros(size, max_length)
        for row, (_, words, _) in zip(answer, best, strict=True):
            row[: len(words)] = words
        return answer, torch.tensor([value for value, _, _ in best], dtype=images.dtype)


def _of(values: Tensor, beams: Tensor) -> Tensor:
    """Pick for each study its beams (B, b) from values (B, beams before, ...)."""
    index = beams.view(*beams.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)
