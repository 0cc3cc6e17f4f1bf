"""Plain formulas as MathML, which browsers set like a book does.

``dl/dw1`` becomes a fraction, ``w1`` a letter with an index, ``y^`` a letter with a hat, ``x``
between numbers a multiplication sign; what is left is numbers, names and operators in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

_TOKEN = re.compile(
    r"(?P<derivative>d(?P<above>[a-z]\^?\d?)/d(?P<below>[a-z]\^?\d?))"
    r"|(?P<number>\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?)"
    r"|(?P<name>[a-z]{2,})"
    r"|(?P<times>x(?= \d)|\*|·)"
    r"|(?P<letter>[a-z]\^?\d?)"
    r"|(?P<operator>[-+=(),/<>])"
)
_OPERATORS = {"-": "−"}


def mathml(formula: str) -> str:
    """The formula as a ``<math>`` element, or ValueError for what it cannot set."""
    return f"<math><mrow>{''.join(_tokens(formula))}</mrow></math>"


def _tokens(formula: str) -> Iterator[str]:
    place = 0
    while place < len(formula):
        if formula[place] == " ":
            place += 1
            continue
        found = _TOKEN.match(formula, place)
        if found is None:
            raise ValueError(f"{formula!r} has no MathML from {formula[place:]!r} on")
        place = found.end()
        yield _element(found)


def _element(found: re.Match[str]) -> str:
    text = escape(found[0])
    if found["derivative"]:
        above, below = (f"<mrow><mi>d</mi>{_letter(found[k])}</mrow>" for k in ("above", "below"))
        return f"<mfrac>{above}{below}</mfrac>"
    if found["number"]:
        return f"<mn>{text}</mn>"
    if found["name"]:
        return f"<mi>{text}</mi>"
    if found["times"]:
        return f"<mo>{'×' if found[0] == 'x' else '·'}</mo>"
    if found["letter"]:
        return _letter(found[0])
    return f"<mo>{_OPERATORS.get(found[0], text)}</mo>"


def _letter(text: str) -> str:
    """``w1`` with its index, ``y^`` under its hat."""
    base = f"<mi>{text[0]}</mi>"
    if "^" in text:
        base = f"<mover accent='true'>{base}<mo>^</mo></mover>"
    index = text[1:].removeprefix("^")
    return f"<msub>{base}<mn>{index}</mn></msub>" if index else base
