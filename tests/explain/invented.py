"""An explanation of invented numbers, with every route, boxes, beams and the deletion test."""

import numpy as np

from r2cmn.explain.explanation import Explanation, View

REPORT = "there is a small left pleural effusion . the heart is normal in size ."
WORDS = REPORT.split()


def invented(words=WORDS, side=4, layers=2, heads=3, threads=2, num_views=2, pixels=64, seed=0, **changed):
    """Return it; `changed` replaces fields."""
    draw = np.random.default_rng(seed)
    num_words, patches, k = len(words), num_views * side**2, 3
    attention = draw.dirichlet(np.full(patches, 0.3), (num_words, layers, heads))
    memory = draw.random((num_words, threads, patches))
    occlusion = draw.normal(0.2, 0.5, (num_words, patches))
    tested = {"area": 0.21, "random_area": 0.35, "random_sd": 0.04, "beats_random": True}
    failed = {"area": 0.36, "random_area": 0.35, "random_sd": 0.04, "beats_random": False}
    shade = np.linspace(30, 220, pixels).astype(np.uint8)
    views = [
        View(
            name, np.ascontiguousarray(np.broadcast_to(shade[:, None] if n else shade, (pixels, pixels))), (side, side)
        )
        for n, name in enumerate([f"view_{n}" for n in range(num_views)])
    ]
    views[0].boxes = [{"finding": "left pleural effusion", "box": [0.5, 0.5, 1.0, 1.0]}]
    fields = {
        "study": "phantom_7",
        "words": list(words),
        "tokens": list(range(5, 5 + num_words)),
        "log_probs": np.log(draw.uniform(0.2, 0.99, num_words)),
        "given": False,
        "reference": "a small effusion on the left .",
        "views": views,
        "maps": {"attention": attention, "memory": memory, "occlusion": occlusion},
        "vectors": {
            "words": draw.integers(0, 12, (num_words, threads, k)),
            "words_weight": np.sort(draw.dirichlet(np.ones(k), (num_words, threads)))[..., ::-1],
            "patches": draw.integers(0, 12, (threads, patches, k)),
            "patches_weight": np.sort(draw.dirichlet(np.ones(k), (threads, patches)))[..., ::-1],
            "num_vectors": 12,
            "shared": True,
        },
        "beams": [{"words": list(words), "score": -3.25}, {"words": list(words[:4]), "score": -4.5}],
        "choices": [[(word, 0.5), ("other", 0.25), ("third", 0.125)] for word in words],
        "deletion": {
            "attention": [tested if n % 2 == 0 else failed for n in range(num_words)],
            "memory": [None] * num_words,
        },
        "model": "CMN",
    }
    return Explanation(**{**fields, **changed})
