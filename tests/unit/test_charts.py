"""Numbers as pictures: what is drawn is what was given, and text stays text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from oauthbff.admin.charts import HEIGHT, WIDTH, Chart, Series, ceiling, short, svg

NASTY = '"><script>alert(1)</script>&'


def chart(*values: list[int], line: bool = False, name: str = "sign-ins") -> Chart:
    return Chart(
        id="one",
        title="Sign-ins",
        about="How many",
        labels=[f"{hour}:00" for hour in range(len(values[0]))],
        series=[Series(name=name, kind=str(n), values=each) for n, each in enumerate(values)],
        line=line,
    )


def drawn(of: Chart, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg(of)).iter(tag))


@pytest.mark.parametrize(
    ("number", "top"),
    [(0, 2), (1, 2), (2, 2), (3, 4), (5, 6), (9, 10), (11, 20), (99, 100), (101, 150), (240, 250)]
    + [(10_001, 15_000), (999_999, 1_000_000)],
)
def test_the_axis_ends_at_a_round_number_that_can_be_halved(number: int, top: int):
    assert ceiling(number) == top


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (950, "950"), (1000, "1k"), (2500, "2.5k"), (1_000_000, "1M"), (7.5, "7.5")],
)
def test_numbers_are_short(number: float, text: str):
    assert short(number) == text


def test_a_column_is_as_high_as_its_number():
    low, high = drawn(chart([50, 100]), "rect")
    assert float(low.attrib["height"]) * 2 == pytest.approx(float(high.attrib["height"]))


def test_columns_of_one_bucket_stand_upon_each_other():
    below, above = drawn(chart([40], [60]), "rect")
    assert float(above.attrib["y"]) + float(above.attrib["height"]) == pytest.approx(
        float(below.attrib["y"]), abs=0.2
    )


def test_a_single_one_among_thousands_is_still_seen():
    [_big, small] = drawn(chart([100_000, 1]), "rect")
    assert float(small.attrib["height"]) >= 1


def test_a_line_has_a_point_for_each_bucket():
    [line] = drawn(chart([3, 0, 7, 5], line=True), "polyline")
    assert len(line.attrib["points"].split()) == 4


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0], [10**12, 1], list(range(31))])
@pytest.mark.parametrize("line", [False, True])
def test_nothing_is_drawn_outside_whatever_the_numbers(values: list[int], line: bool):
    of = chart(values, line=line)
    for column in drawn(of, "rect"):
        x, y, width, height = (float(column.attrib[n]) for n in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + width <= WIDTH and y + height <= HEIGHT
    for shape in drawn(of, "polyline"):
        for point in shape.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT
    assert of.empty is not any(values)


def test_it_has_a_name_and_a_description_for_who_does_not_see_it():
    image = ElementTree.fromstring(svg(chart([1])))
    assert image.attrib["role"] == "img"
    ids = image.attrib["aria-labelledby"].split()
    told = {each.attrib.get("id"): each.text for each in image.iter()}
    assert [told[each] for each in ids] == ["Sign-ins", "How many"]


def test_text_stays_text():
    nasty = chart([1, 2], name=NASTY)
    assert "<script" not in svg(nasty)
    [title, *_rest] = [each for each in drawn(nasty, "title") if "alert" in (each.text or "")]
    assert title.text == '0:00: "><script>alert(1)</script>& 1'


def test_the_table_has_the_same_numbers():
    assert chart([1, 2], [3, 4]).rows == [("0:00", [1, 3]), ("1:00", [2, 4])]
