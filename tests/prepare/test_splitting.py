import random
from collections import Counter

import pytest

from r2cmn.prepare.archives import RawError
from r2cmn.prepare.splitting import Splitting


def studies_of(patients):
    return [(f"s{number}", patient) for number, patient in enumerate(patients)]


def test_patients_are_split_whole_by_the_seed_and_near_the_fractions():
    seed = 20_261_124
    print("seed", seed)
    generator = random.Random(seed)
    for _ in range(40):
        patients = [f"p{generator.randrange(150)}" if generator.random() < 0.9 else "" for _ in range(300)]
        studies = studies_of(patients)
        splitting = Splitting((0.6, 0.15, 0.25), seed=generator.randrange(100))
        splits = splitting.split(studies)
        homes = {}
        for patient, split in zip(patients, splits, strict=True):
            if patient:
                assert homes.setdefault(patient, split) == split
        largest = Counter(patients).most_common(2)[-1][1]
        for split, fraction in zip(("train", "val", "test"), splitting.fractions, strict=True):
            assert abs(splits.count(split) - fraction * 300) <= max(largest, 8)
        shuffled = generator.sample(studies, len(studies))
        again = dict(zip((id for id, _ in shuffled), splitting.split(shuffled), strict=True))
        assert [again[id] for id, _ in studies] == splits  # whatever the order of the table
    assert Splitting(seed=1).split(studies) != Splitting(seed=2).split(studies)


def test_too_few_patients_and_impossible_fractions():
    with pytest.raises(RawError, match="1 patients are too few, 'train' would have none"):
        Splitting((0.3, 0.1, 0.6)).split(studies_of(["p"] * 9))
    for fractions in [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)]:
        with pytest.raises(ValueError, match="--fractions"):
            Splitting(fractions)
