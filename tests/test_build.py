import sys

import pytest
import torch

from r2cmn.build import (
    RENAMED,
    DescriptionError,
    NotAllowedError,
    allow_targets,
    build,
    check_allowed,
    check_options,
    find_class,
)


def test_builds_a_class_with_its_options():
    weight = torch.nn.Parameter(torch.zeros(1))
    adam = build({"_target_": "torch.optim.Adam", "lr": 0.5}, params=[weight])
    assert isinstance(adam, torch.optim.Adam)
    assert adam.defaults["lr"] == 0.5


@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "builtins.eval", "r2cmnx.memory.X", "", 7, None])
def test_a_class_elsewhere_is_refused(target):
    if target is None:
        with pytest.raises(DescriptionError, match="has no '_target_'"):
            build({"lr": 1})
        return
    with pytest.raises(NotAllowedError, match="not one of the classes"):
        build({"_target_": target})


def test_refusal_comes_before_any_import():
    assert "this" not in sys.modules
    with pytest.raises(NotAllowedError):
        build({"_target_": "this.Thing"})
    assert "this" not in sys.modules


def test_a_nested_description_is_refused_before_the_outer_one_is_built():
    with pytest.raises(NotAllowedError, match=r"os\.system"):
        check_allowed({"_target_": "torch.optim.Adam", "schedules": [{"_target_": "os.system"}]})


@pytest.mark.parametrize("target", ["r2cmn.build.importlib", "r2cmn.build.inspect.Signature", "r2cmn.build.build"])
def test_what_is_only_reached_through_an_allowed_package_is_refused(target):
    with pytest.raises(DescriptionError):
        find_class(target)


def test_a_class_imported_by_an_allowed_module_is_refused():
    # r2cmn.types imports Tensor and Any: naming them through r2cmn must not open a door
    with pytest.raises(DescriptionError):
        find_class("r2cmn.types.Tensor")


def test_unknown_and_missing_options_are_named():
    with pytest.raises(DescriptionError, match=r"optimizer\.rate: SGD has no option 'rate'"):
        build({"_target_": "torch.optim.SGD", "rate": 1}, named="optimizer", params=[])
    with pytest.raises(DescriptionError, match=r"optimizer\.params: SGD needs a value"):
        build({"_target_": "torch.optim.SGD"}, named="optimizer")


def test_the_caller_can_allow_a_package(monkeypatch):
    monkeypatch.setattr("r2cmn.build._ALLOWED", ["r2cmn."])
    with pytest.raises(NotAllowedError):
        build({"_target_": "fractions.Fraction"})
    allow_targets("fractions")
    assert find_class("fractions.Fraction").__name__ == "Fraction"


class Example:
    def __init__(
        self, number: int, rate: float | None = None, name: str = "x", on: bool = True, path: "str | bool" = ""
    ):
        self.number, self.rate, self.name, self.on, self.path = number, rate, name, on, path


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"number": "abc"}, r"part\.number: 'abc' is not a whole number"),
        ({"number": 1.5}, r"part\.number: 1\.5 is not a whole number"),
        ({"number": None}, r"part\.number: None is not a whole number"),
        ({"number": True}, r"part\.number: True is not a whole number"),
        ({"number": 1, "rate": "x"}, r"part\.rate: 'x' is not a number or null"),
        ({"number": 1, "on": 1}, r"part\.on: 1 is not true or false"),
        ({"number": 1, "path": 3}, r"part\.path: 3 is not a text or true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(options, sentence):
    with pytest.raises(DescriptionError, match=sentence):
        check_options(Example, options, "part")


@pytest.mark.parametrize(
    "options", [{"number": 1, "rate": 2}, {"number": 1, "rate": None, "path": False}, {"number": "${dim}"}]
)
def test_a_value_that_fits_passes(options):
    check_options(Example, options, "part")


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_classes_that_moved_are_found_by_their_old_path(old):
    found = find_class(old)
    assert f"{found.__module__}.{found.__qualname__}" == find_class(RENAMED[old]).__module__ + "." + found.__qualname__
