"""The language of searches, as text and tree: what it means, and where it says a query is wrong."""

from __future__ import annotations

import random

import pytest

from qnib.errors import QnibError, WrongUse
from qnib.monitoring.query import FIELDS, LONGEST, explained, parse, tokens


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('host:compute[0-7] severity>=warning job:42 "out of memory" app:slurmd -session',) * 2,
        ("a OR b (c | -d) NOT (x y)", "a OR b (c OR -d) -(x y)"), ("a AND b", "a b"), ("", ""), ("  a   b ", "a b"),
        ("kind!=link.*", "-kind:link.*"), ("level=warn", "severity:warn"), ("program:x", "app:x"),
        ("NODE:c1", "host:c1"), ("host:a[1,3],b user:x,y", "host:a[1,3],b user:x,y"), ("ORANGE NOTE ANDY",) * 2,
        ('message:"a b"', 'message:"a b"'), ('"say \\"no\\""',) * 2, ("*foo*bar", "message:*foo*bar*"), ("foo*",) * 2,
        ("entity:PORT:SW1/3",) * 2, ("field.exit_code>=3",) * 2, ("field.Exit-Code:3",) * 2, ("--a", "--a"),
        ("sess-ion /dev/sda1 12:30:45", "sess-ion /dev/sda1 12:30:45"), ("time>=-15m",) * 2, ("-(a OR b)",) * 2,
    ],
)  # fmt: skip
def test_what_a_query_means(text: str, meaning: str) -> None:
    tree = parse(text)
    assert str(tree) == meaning
    assert parse(str(tree)) == parse(meaning)


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ('x "y', 3, "quote is never closed"), ("host:", 6, "has no value"), ("host: a", 6, "has no value"),
        ("host:a,", 8, "missing after the comma"), ("a (b", 3, "never closed"), ("a)", 2, "without an opening one"),
        ("http://x", 1, "no field 'http'"), ("-", 1, "nothing follows"), ("a -", 3, "nothing follows"),
        ("app>=3", 4, "cannot be compared"), ("AND a", 1, "anything before"), ("a OR", 5, "term is missing"),
        ("OR", 1, "term is missing"), ("host:c[0-7", 7, "bracket is never closed"),
        ("host:c0-7]", 10, "closing bracket"), ("---", 3, "nothing follows"),
        ("a ::", 3, "neither letters nor digits"), ("time>=1,2", 5, "single value|one value"),
        ("(" * 60 + "a" + ")" * 60, 41, "too many"), ("()", 2, "term is missing"), ('""', 1, "without letters"),
    ],
)  # fmt: skip
def test_a_wrong_query_says_where_and_what_to_write(text: str, at: int, what: str) -> None:
    with pytest.raises(WrongUse, match=what) as told:
        parse(text)
    assert f"at character {at}:" in told.value.what, told.value.what
    assert "▸" in told.value.where
    assert told.value.try_next


def test_a_query_is_not_endless() -> None:
    with pytest.raises(WrongUse, match="at most"):
        parse("a" * (LONGEST + 1))


def test_each_field_is_explained_by_an_example_that_is_a_query() -> None:
    names = {one["name"] for one in explained()}
    assert names == {one.name for one in FIELDS}
    for one in FIELDS:
        assert str(parse(one.example)).startswith(one.name.replace("NAME", "")), one.name


def test_tokens_are_runs_of_letters_and_digits() -> None:
    assert tokens("Ab-cd_töken [1.5]:x/y") == ["ab", "cd", "töken", "1", "5", "x", "y"]


def test_any_text_is_a_query_or_a_clear_error() -> None:
    chosen = random.Random(7)
    pieces = [
        "a", "host:", '"', "(", ")", "-", " ", "OR", "AND", "NOT", "[", "]", ",", "*", ">=", "field.x", "\\", "|", "\n",
        "é", ":", "severity", "7",
    ]  # fmt: skip
    for _ in range(5000):
        text = "".join(chosen.choice(pieces) for _ in range(chosen.randint(1, 14)))
        try:
            tree = parse(text)
        except QnibError as error:
            assert isinstance(error, WrongUse)
            assert error.where
        else:
            assert str(parse(str(tree))) == str(tree), text
