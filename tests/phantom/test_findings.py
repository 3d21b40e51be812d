import numpy as np

from r2cmn.data.observations import OBSERVATIONS
from r2cmn.phantom.findings import DEVICES, KINDS, Finding, draw_findings, labels_of_findings

STUDIES = [draw_findings(np.random.default_rng([0, number])) for number in range(3000)]


def labels(*findings):
    drawn = [Finding(*words, (0.5, 0.5, 0.5)) for words in findings]
    return {name for name, value in zip(OBSERVATIONS, labels_of_findings(drawn), strict=True) if value}


def test_a_third_of_the_studies_is_normal():
    assert 0.30 < np.mean([not findings for findings in STUDIES]) < 0.36


def test_every_kind_place_and_size_is_drawn():
    drawn = {(f.kind, f.place, f.size) for findings in STUDIES for f in findings}
    expected = {
        (kind, place, size) for kind, (places, sizes, *_) in KINDS.items() for place in places for size in sizes
    }
    assert drawn == expected | {("device", name, "") for name in DEVICES}


def test_effusion_and_pneumothorax_exclude_other_findings_on_their_side():
    for findings in STUDIES:
        on_side = [{f.kind for f in findings if f.side == side} for side in (1, -1)]
        for kinds in on_side:
            assert not ("effusion" in kinds and kinds & {"consolidation", "opacity", "nodule", "atelectasis"})
            assert not ("pneumothorax" in kinds and kinds & {"effusion", "pleural thickening"})


def test_no_finding_is_repeated_in_one_place():
    for findings in STUDIES:
        assert len({(f.kind, f.place) for f in findings}) == len(findings)


def test_observations_of_findings():
    assert labels() == {"No Finding"}
    assert labels(("device", "pacemaker", "")) == {"Support Devices", "No Finding"}
    assert labels(("effusion", "left", "small")) == {"Pleural Effusion"}
    assert labels(("effusion", "left", "large")) == {"Pleural Effusion", "Atelectasis"}
    assert labels(("consolidation", "left lower", "")) == {"Consolidation", "Pneumonia"}
    assert labels(("cardiomegaly", "heart", "mild"), ("nodule", "left upper", "mass")) == {
        "Cardiomegaly",
        "Lung Lesion",
    }


def test_every_observation_is_drawn():
    assert (np.sum([labels_of_findings(findings) for findings in STUDIES], axis=0) > 100).all()


def test_side_is_the_patients():
    assert Finding("effusion", "left", "small", (0, 0, 0)).side == 1
    assert Finding("nodule", "right upper", "mass", (0, 0, 0)).side == -1
    assert Finding("cardiomegaly", "heart", "mild", (0, 0, 0)).side == 0
