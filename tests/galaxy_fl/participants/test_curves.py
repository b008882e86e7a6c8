"""The picture of a report: what was measured is where its axes say, whatever was measured."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from galaxy_fl.participants.curves import HEIGHT, WIDTH, draw

SVG = "{http://www.w3.org/2000/svg}"


def parts(picture, kind):
    return list(ElementTree.fromstring(picture).iter(SVG + kind))


def texts(picture):
    return [each.text for each in parts(picture, "text")]


def points(picture, colour):
    return [
        (float(each.attrib["cx"]), float(each.attrib["cy"]))
        for each in parts(picture, "circle")
        if each.attrib["fill"] == colour
    ]


def test_points_are_where_the_axes_say():
    measured = [(1, 2.0), (2, 1.0), (4, 0.5)]
    picture = draw("Job 7", 4, [("loss", [("train", "red", measured)], 0.0, None), ("accuracy", [], None, 101.0)])
    of_values = [each for each in parts(picture, "text") if each.attrib["text-anchor"] == "end"]
    labels = {each.text: float(each.attrib["y"]) - 4.5 for each in of_values}
    rounds = {each.text: float(each.attrib["x"]) for each in parts(picture, "text")[:6]}
    drawn = points(picture, "red")
    assert [x for x, _ in drawn] == [rounds[str(round)] for round, _ in measured]
    # The axis begins at zero, and has a label at each of these.
    assert drawn[1][1] == pytest.approx(labels["1"], abs=0.1)
    assert drawn[2][1] == pytest.approx(labels["0.5"], abs=0.1)
    assert labels["0"] - drawn[1][1] == pytest.approx(2 * (labels["0"] - drawn[2][1]), abs=0.2)
    assert {"Job 7", "loss", "accuracy", "train", "not measured"} <= set(texts(picture))


@pytest.mark.parametrize(
    "values",
    [[0.0], [1e-320, 0.0], [5e-324], [1.7e308, -1.7e308], [1e300], [1.0, 1.0 + 2e-16], [-3.0, -3.0], [1e20, 1e20]],
    ids=str,
)
def test_any_finite_values_make_a_picture(values):
    measured = list(enumerate(values, 1))
    picture = draw("", len(values), [("loss", [("train", "red", measured)], None, None), ("", [], None, None)])
    drawn = points(picture, "red")
    assert len(drawn) == len(values)
    assert all(0 <= x <= WIDTH and -40 <= y <= HEIGHT + 40 for x, y in drawn)


@pytest.mark.parametrize("rounds", [1, 2, 12, 13, 99, 100, 120, 121, 1_000, 10**6])
def test_rounds_are_labelled_by_whole_numbers_with_room_between_them(rounds):
    picture = draw("", rounds, [("loss", [("train", "red", [(rounds, 1.0)])], None, None)])
    labels = [int(each.text) for each in parts(picture, "text") if float(each.attrib["y"]) == HEIGHT - 52 + 18]
    assert 1 <= len(labels) <= 12
    assert len({after - before for before, after in pairwise(labels)}) <= 1
    assert labels[-1] <= rounds


def test_long_curves_have_no_markers():
    measured = [(round, 1 / round) for round in range(1, 200)]
    picture = draw("", 199, [("loss", [("train", "red", measured)], 0.0, None)])
    assert points(picture, "red") == []
    [curve] = [each for each in parts(picture, "polyline") if len(each.attrib["points"].split()) == 199]
    assert curve.attrib["stroke"] == "red"


def test_a_title_is_text_whatever_is_in_it():
    title = "Job </text><script>alert(1)</script> & \x00 \x1b[2J \ud800 ✓"
    picture = draw(title, 1, [("loss", [], None, None)])
    assert "<script" not in picture
    assert texts(picture)[0] == "Job </text><script>alert(1)</script> & � �[2J � ✓"
