"""An encoder-decoder that writes the most common sentences of the training reports as single tokens."""

from collections import Counter

import torch
from torch import nn


class TemplateWriter(nn.Module):
    """A GRU over words and templates: token V + k stands for the whole k-th template sentence.

    Args:
        tokenizer: of the reports.
        annotations: `templates`, lists of ids.
        dim: D.
        num_templates: template sentences.
    """

    def __init__(self, tokenizer, annotations, dim: int = 512, num_templates: int = 4):
        super().__init__()
        self.first = tokenizer.vocabulary_size
        self.templates = annotations["templates"]
        num_columns = self.first + num_templates
        self.embedding = nn.Embedding(num_columns, dim)
        self.cell = nn.GRUCell(dim, dim)
        self.output = nn.Linear(dim, num_columns)

    @classmethod
    def annotate(cls, studies, tokenizer, num_templates=4):
        counts = Counter(
            tuple(sentence)
            for study in studies
            for sentence in _sentences(study.report, tokenizer)
            if len(sentence) > 1
        )
        return {"templates": [list(sentence) for sentence, _ in counts.most_common(num_templates)]}

    def to_targets(self, report, tokenizer):
        tokens = []
        for sentence in _sentences(report, tokenizer):
            known = sentence in self.templates
            tokens += [self.first + self.templates.index(sentence)] if known else sentence
        return [0, *tokens, 0]

    def to_words(self, tokens, tokenizer):
        ids = []
        for token in tokens:
            if token == 0:
                break
            template = token - self.first
            ids += [token] if template < 0 else self.templates[template] if template < len(self.templates) else []
        return tokenizer.decode(ids[: tokenizer.max_length])

    def encode(self, patches):
        return {"mean": patches.mean(1)}

    def embed(self, tokens, position):
        return self.embedding(tokens)

    def decode(self, tokens, words, source):
        state, log_p = self.start(source), []
        for column, word in zip(tokens.unbind(1), words.unbind(1), strict=True):
            found, state = self.step(column, word[:, None], state)
            log_p.append(found)
        return torch.stack(log_p, 1)

    def start(self, source):
        mean = source["mean"]
        return {"position": torch.zeros(len(mean), dtype=torch.long, device=mean.device), "hidden": mean}

    def step(self, tokens, words, state):
        hidden = self.cell(words[:, 0], state["hidden"])
        log_p = self.output(hidden).log_softmax(-1)
        return log_p, {"position": state["position"] + 1, "hidden": hidden}


def _sentences(report, tokenizer):
    """Split the ids of a report after each full stop."""
    full_stop, sentences = tokenizer.words.index(".") + 1, [[]]
    for token in tokenizer.encode(report)[1:]:
        if token == 0:
            break
        sentences[-1].append(token)
        if token == full_stop:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]
