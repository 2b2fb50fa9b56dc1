"""Pictures of series: round ticks in the zone that is asked for, escaped texts, bounded size, well-formed always."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest

from qnib.errors import WrongUse
from qnib.monitoring.graphite.functions import Line
from qnib.monitoring.graphite.picture import Look, as_svg

T = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())
SVG = "{http://www.w3.org/2000/svg}"


def line(name: str, *values: float, start: float = T - 3600, step: float = 600) -> Line:
    return Line(name, start, step, np.array(values, float))


def drawn(*lines: Line, **params: str) -> ElementTree.Element:
    return read(as_svg(list(lines), Look.told(params)))


def read(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - it is our own


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def curves(picture: ElementTree.Element) -> list[str]:
    return [path.get("d", "") for path in picture.iter(f"{SVG}path") if path.get("fill") == "none"]


def test_axes_have_round_ticks_and_the_zones_hours() -> None:
    told = texts(drawn(line("a", 3, 47, 12, 20, 31, 8, 5)))
    assert {"0", "20", "40", "60"} <= set(told)
    assert {"11:00", "11:10", "11:30", "12:00"} <= set(told)
    assert told[-1] == "a"
    assert {"12:00", "13:00"} <= set(texts(drawn(line("a", *range(7)), tz="Europe/Berlin")))
    assert {"16:30", "17:00"} <= set(texts(drawn(line("a", *range(7)), tz="Asia/Kolkata")))


def test_days_begin_at_midnight_where_the_clock_is_put_back() -> None:
    start = datetime(2026, 10, 22, tzinfo=UTC).timestamp()
    told = texts(drawn(line("a", *range(8 * 24), start=start, step=3600), tz="Europe/Berlin"))
    assert [text for text in told if re.fullmatch(r"\d\d Oct", text)] == [f"{day} Oct" for day in range(23, 31)]
    assert not [text for text in told if ":" in text]


def test_it_looks_as_asked() -> None:
    picture = drawn(line("a", 1, 2), width="300", height="200", title="Load", bgcolor="black", fgcolor="FF8800",
                    hideLegend="true")  # fmt: skip
    assert (picture.get("width"), picture.get("height"), picture.get("fill")) == ("300", "200", "#FF8800")
    assert picture.find(f"{SVG}rect").get("fill") == "black"  # type: ignore[union-attr]
    told = texts(picture)
    assert "Load" in told
    assert "a" not in told


def test_the_values_axis_ends_where_it_is_told() -> None:
    picture = drawn(line("a", 0, 50, 500), yMin="0", yMax="100")
    assert texts(picture)[0] == "0"
    assert "100" in texts(picture)
    ys = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", curves(picture)[0])]
    assert ys[2] == min(ys) == pytest.approx(16)  # what is above lies on the edge
    assert ys[1] == pytest.approx((ys[0] + ys[2]) / 2, abs=0.1)


@pytest.mark.parametrize(("mode", "areas"), [("none", 0), ("first", 1), ("all", 2), ("stacked", 2)])
def test_areas(mode: str, areas: int) -> None:
    picture = drawn(line("a", 1, 2, 3), line("b", 1, 1, 1), areaMode=mode)
    filled = [path for path in picture.iter(f"{SVG}path") if path.get("d", "").endswith("Z")]
    assert len(filled) == areas


def test_stacked_series_stand_on_each_other() -> None:
    below, above = (curves(drawn(line("a", 1, 2), line("b", 1, 1), areaMode="stacked")))[::-1]
    alone = curves(drawn(line("c", 2, 3), line("d", 1, 2), areaMode="all"))
    assert [above, below] == alone[::-1]


def test_gaps_are_gaps_and_single_points_are_seen() -> None:
    assert curves(drawn(line("a", 1, math.nan, 2, 3)))[0].count("M") == 2
    assert "h0.1" in curves(drawn(line("a", math.nan, 1, math.nan, 3, 4)))[0]


def test_texts_are_escaped_and_short() -> None:
    evil = '</text><script>alert("1")</script>\x00\x1b & more'
    text = as_svg([line(evil, 1, 2), line("x" * 5000, 1, 2)], Look.told({"title": evil}))
    assert "<script>" not in text
    told = texts(read(text))
    assert told[0].startswith("</text><script>")
    assert max(map(len, told)) <= 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("bgcolor", 'red" onload="x'), ("fgcolor", "url(#x)"), ("width", "wide"), ("height", "nan"), ("yMin", "low"),
     ("areaMode", "some")],
)  # fmt: skip
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(WrongUse, match=re.escape(name)):
        Look.told({name: value})


def test_its_size_is_bounded() -> None:
    assert Look.told({"width": "1e9", "height": "-5"}) == Look(width=4000, height=100)
    many = [line(f"n{n}", *range(7)) for n in range(3000)]
    text = as_svg(many, Look())
    assert len(text) < 200_000
    assert "and 2988 more, 200 of them drawn" in text


@pytest.mark.parametrize(
    "values",
    [(), (math.nan,), (math.inf, 1), (1e308, -1e308), (5, 5, 5), (0,), (1e-320, 2e-320), (1e15, 1e15 + 1), (-3, -1)],
)
@pytest.mark.parametrize("mode", ["none", "stacked"])
def test_any_values_make_a_picture(values: tuple[float, ...], mode: str) -> None:
    picture = drawn(line("a", *values), areaMode=mode)
    told = " ".join(curves(picture))
    assert "nan" not in told
    assert "inf" not in told
    assert bool(told) == bool(np.isfinite(values).any())
