"""CIDEr-D against its formula in plain loops; tests/objectives/test_scst_parity.py compares recorded scores."""

import math
import random
from collections import Counter

import pytest

from r2cmn.metrics.cider import CiderD, document_frequencies


def drawn(seed, count, longest=20, words="abcdefg."):
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=draw.randrange(longest))) for _ in range(count)]


def plain_cider_d(generated, reference, documents, sigma):
    """Vedantam et al.: 10 times the mean cosine of clipped TF-IDF vectors, with a Gaussian of the length."""

    def ngrams(text, n):
        words = text.split()
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    def weights(text, n):
        found = {}
        for ngram, count in ngrams(text, n).items():
            df = sum(ngram in ngrams(document, n) for document in documents)
            found[ngram] = count * (math.log(len(documents)) - math.log(max(1, df)))
        return found

    total = 0.0
    for n in range(1, 5):
        ours, theirs = weights(generated, n), weights(reference, n)
        norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
        product = sum(min(w, theirs[g]) * theirs[g] for g, w in ours.items() if g in theirs)
        total += product / norms if norms else 0.0
    apart = sum(ngrams(generated, 2).values()) - sum(ngrams(reference, 2).values())
    return 10 * total / 4 * (1 if sigma is None else math.exp(-(apart**2) / (2 * sigma**2)))


@pytest.mark.parametrize("sigma", [6.0, 2.5, None])
def test_it_is_the_formula_of_plain_loops(sigma):
    documents, generated, references = drawn(0, 12), drawn(1, 40), drawn(2, 40)
    generated[:4], references[:4] = ["", "", "a", "b"], ["", "a", "", "b"]
    scores = CiderD(document_frequencies(documents), sigma)(generated, references)
    pairs = zip(generated, references, strict=True)
    assert scores.tolist() == pytest.approx([plain_cider_d(*pair, documents, sigma) for pair in pairs], abs=1e-12)
    assert 0 < scores.max() < 10


def test_a_report_equal_to_its_reference_is_the_best():
    reports = [report for report in drawn(3, 30) if len(report.split()) > 3]
    score = CiderD(document_frequencies(drawn(4, 50)))
    assert score(reports, reports).tolist() == pytest.approx([10] * len(reports))
    assert (score(reports[1:], reports[:-1]) < 10).all()


def test_rare_ngrams_weigh_more_and_those_of_all_documents_nothing():
    score = CiderD(document_frequencies(["a b", "a c", "a c", "a d"]), sigma=None)
    assert score(["a"], ["a"]).tolist() == [0]
    vector = score._vector("a b c z").weights[0]
    assert vector[("a",)] == 0 < vector[("c",)] < vector[("b",)] == vector[("z",)] == math.log(4)


def test_frequencies_are_plain_and_leave_out_what_one_document_has():
    found = document_frequencies(iter(["a b", "a b a b", "c"]))
    assert found == {"num_documents": 3, "ngrams": {2: "a\nb\na b"}}
    assert document_frequencies([]) == {"num_documents": 0, "ngrams": {}}
    assert CiderD(document_frequencies([]))(["a b"], ["a b"]).tolist() == [0]
