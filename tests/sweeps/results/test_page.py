"""The page: every text escaped, in the tables as in the data of the script."""

import json
import re

import pytest

from r2cmn.sweeps.results.collect import collect
from r2cmn.sweeps.results.compare import compare, find_reference
from r2cmn.sweeps.results.frame import ablated_keys, families
from r2cmn.sweeps.results.page import page

from ...pages.checker import MARKUP, check_escaped


@pytest.fixture
def sweep(tmp_path, make_sweep):
    grid = {"memory.num_vectors": [16, 64], "data.name": ["plain", MARKUP], "seed": [0]}
    folder = make_sweep(tmp_path / "<!-- <script> {{ 123 * 457 }}", grid, lambda o: 0.01 * o["memory.num_vectors"])
    (folder / "3" / "result.json").unlink()
    (folder / "3" / "FAILED").write_text(f"reason: {MARKUP}\n")
    return folder


def test_every_text_is_escaped(sweep):
    found = collect([str(sweep)])
    grouped, _ = families(found.done, ablated_keys(found, []))
    compared = []
    for family in grouped:
        reference = find_reference(family, {})
        compared.append(tuple(compare(family, names, reference, None, 0.95) for names in (["BLEU_4"], ["BLEU_4"])))
    html = page(found, compared, "BLEU_4", [MARKUP])
    # the legend of the figure is in the comments of its drawing, too
    tags = check_escaped(re.sub("<svg.*?</svg>", "", html, flags=re.DOTALL), MARKUP, times=6)
    assert tags.count("script") == 2
    assert "<h1>&lt;!-- &lt;script&gt; {{ 123 * 457 }}</h1>" in html
    data = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1]
    assert not re.search("[<>&]", data)
    assert any(MARKUP in line["setting"] for line in json.loads(data)["curves"])
    pictures = "".join(re.findall("<svg.*?</svg>", html, flags=re.DOTALL))
    assert pictures
    assert "<script" not in pictures
    assert "innerHTML" not in html  # the script writes the names of trials as text


def test_the_axis_of_the_models_has_a_place_for_each(tmp_path, make_sweep):
    folder = make_sweep(tmp_path / "s", {"model": ["cmn", "base", "base_mem"], "seed": [0]}, lambda _: 0.1)
    found = collect([str(folder)])
    family = families(found.done, ablated_keys(found, []))[0][0]
    one = compare(family, ["BLEU_4"], find_reference(family, {}), None, 0.95)
    html = page(found, [(one, one)], "BLEU_4", [])
    coordinates = html[html.index("Parallel coordinates") :]
    labels = re.findall(r'class="tick start halo"[^>]*>([^<]+)</text>', coordinates)
    assert labels[:3] == ["base", "base_mem", "cmn"]
