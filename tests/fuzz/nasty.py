"""Values that have broken programs before, and ways to break good ones. All from a seeded source of chance."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

TEXTS: Final = (
    "", " ", "\t", "\n", "\r\n", "\x00", "a\x00b", "\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\x7f", "\u202e",
    "\u200b",
    "\ud800", "a\udcffb", "\ufeff", "\U0010ffff", "ﬁ", "Å", "Å", "é́́", "🙈🙉", "ß", "İ", "٣", "１２", "²",
    "null", "None", "true", "NaN", "Infinity", "-Infinity", "1e999", "-0", "0x10", "1_000", "9" * 19, "9" * 400,
    "9" * 5_000, "-1", "2147483648", "9223372036854775808", "../../etc/passwd", "/", "\\", "a/b", "C:\\x", "%s", "%n",
    "%00", "{0}", "{x}", "$(id)", "`id`", "'; DROP TABLE outlast_instances; --", '"', "'", "\\u0000", "<script>",
    "&amp;",
    "[x]", "[", "]", "[red]x[/red]", "--help", "-", "--", "=", "a=", "=a", "a=b=c", ",", ":", "@", "#", "?", "*", "~",
    "~answer:x#1", "~child:x", "x" * 200, "x" * 201, "x" * 10_000, "é" * 200, "\u0301" * 50, "a\u2028b", "a\u2029b",
    "01a1fe4b-edc3-7000-a8b2-1f78ad3db048", "01a1", "--------", "0" * 36, "workflow", "~errand",
)  # fmt: skip
NUMBERS: Final = (
    0, -1, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**400, 10**5_000, 0.0, -0.0, 0.1,
    1e308, 1e-320, float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip
JSON_TEXTS: Final = (
    "", " ", "{", "}", "[", "]", '"', "{}", "[]", "[[]]", "null", "nul", "NaN", "Infinity", "-Infinity", "-", "1.",
    ".5",
    "1e400", "-1e400", "1" * 5_000, "1" * 4_000, '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '{"a":"\\u0000"}',
    '{"\\u0000":1}', '{"\\ud800":1}', '{"a":1,"a":2}', '{"a":1,}', "[1,]", "{'a':1}", '{"a":1}{"b":2}', "\ufeff{}",
    "[" * 63 + "]" * 63, "[" * 65 + "]" * 65, "[" * 5_000 + "]" * 5_000, "[" * 200_000, '{"a":' * 100 + "1" + "}" * 100,
    '{"a":' * 5_000 + "1" + "}" * 5_000, '"' + "x" * 262_144 + '"', '"' + "x" * 1_048_577 + '"',
    '"' + "é" * 140_000 + '"',
    '[' + "0," * 50_000 + "0]", "// x\n1", "\x00", '"\x00"', '"\x1b[31m"', "{\"value\": NaN}", '{"value": 1e999}',
)  # fmt: skip


def text(dice: Random, good: tuple[str, ...] = ()) -> str:
    """A nasty text, a good one, or a good one with something broken."""
    if good and dice.random() < 0.7:
        return mutated(dice, dice.choice(good))
    found = dice.choice(TEXTS)
    return found if dice.random() < 0.7 else mutated(dice, found[:300])


def mutated(dice: Random, value: str) -> str:
    """The text with some places cut, doubled, swapped or replaced. One in ten stays as it is."""
    for _ in range(dice.choice((0, 1, 1, 1, 1, 2, 2, 3, 3, 5))):
        place = dice.randrange(len(value) + 1)
        end = min(len(value), place + dice.choice((0, 1, 1, 2, 5)))
        match dice.randrange(5):
            case 0:
                value = value[:place] + value[end:]
            case 1:
                value = value[:place] + value[place:end] * dice.choice((2, 3, 50)) + value[end:]
            case 2:
                value = value[:place] + dice.choice(TEXTS)[:500] + value[end:]
            case 3:
                value = value[:place] + chr(_point(dice)) + value[end:]
            case _:
                other = dice.randrange(len(value) + 1)
                value = value[:place] + value[other : other + 3] + value[end:]
    return value


def _point(dice: Random) -> int:
    most = dice.choice((0x20, 0x7F, 0xFF, 0x3000, 0x10FFFF))
    return dice.randrange(most + 1)


def value(dice: Random, depth: int = 0) -> Any:
    """Plain data, and what is none: numbers that do not fit, surrogates, depths, keys that are no text."""
    match dice.randrange(12 if depth < 4 else 6):
        case 0 | 1 | 2:
            return text(dice)
        case 3 | 4:
            return dice.choice(NUMBERS)
        case 5:
            return dice.choice((None, b"bytes", object, {1, 2}, 1j, (1, 2)))
        case 6 | 7 | 8:
            return [value(dice, depth + 1) for _ in range(dice.randrange(4))]
        case 9 | 10:
            return {_key(dice): value(dice, depth + 1) for _ in range(dice.randrange(4))}
        case _:
            return nested(dice.choice((62, 63, 64, 65, 200, 2_000, 50_000)))


def _key(dice: Random) -> Any:
    return text(dice) if dice.random() < 0.9 else dice.choice((1, None, 1.5, True, ("a",)))


def nested(depth: int) -> Any:
    """Lists within each other."""
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


def json_text(dice: Random, good: tuple[str, ...] = ()) -> str:
    """Text that may be JSON."""
    match dice.randrange(4):
        case 0:
            return dice.choice(JSON_TEXTS)
        case 1:
            return mutated(dice, dice.choice(JSON_TEXTS)[:2_000])
        case 2 if good:
            return mutated(dice, dice.choice(good))
    try:
        return json.dumps(value(dice), skipkeys=True)
    except (TypeError, ValueError, RecursionError):
        return text(dice, good)
