r"""Regular expressions that cannot freeze the screen.

Python's `re` backtracks: `(a+)+b`, and even `a*a*a*a*b`, take minutes to years on a long name, and names are foreign.
Here all ways through the expression are followed at once (Thompson's construction) and every step is remembered, so
the time grows with the length of the name times that of the expression and never faster.

The syntax is that of `re` as far as a filter needs it: characters, `.`, classes (`[a-z]`, `\d \w \s`), groups, `|`,
`* + ? {2} {2,} {2,5}`, `^` and `$`. Upper and lower case are the same. Look-around and back-references are refused.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from vmtop.errors import UsageError

LONGEST_EXPRESSION = 100
MOST_STEPS = 250
"""Size of a compiled expression; `{2,5}` is written out."""
_MOST_REMEMBERED = 20_000

_Test = Callable[[str], bool]


class _Step(NamedTuple):
    """One instruction: with a test it takes a character, without one it only leads on."""

    targets: tuple[int, ...]
    test: _Test | None = None
    is_start: bool = False
    """Leads on at the start of the text only."""
    is_end: bool = False
    """Leads on at the end of the text only."""


_FOUND = 0
"""The step that is reached when the expression matched."""

_Build = Callable[[list[_Step], int], int]
"""(program, the step that follows) -> the step to enter; appends what lies between."""

_States = frozenset[int]


class Pattern:
    """A compiled expression; `parse_pattern` makes it."""

    def __init__(self, program: list[_Step], first: int) -> None:
        self._program = program
        self._first = first
        self._steps: dict[tuple[_States, str], _States] = {}

    def search(self, text: str) -> bool:
        """The expression matches somewhere in the text."""
        states = self._reach((self._first,), is_start=True)
        steps = self._steps
        for character in text:
            if _FOUND in states:
                return True
            following = steps.get((states, character))
            if following is None:
                following = self._follow(states, character)
            states = following
        return _FOUND in self._reach(states, is_start=not text, is_end=True)

    def _follow(self, states: _States, character: str) -> _States:
        if len(self._steps) >= _MOST_REMEMBERED:
            self._steps.clear()
        taken = [self._first]  # A match may begin at any character.
        for number in states:
            step = self._program[number]
            if step.test is not None and step.test(character):
                taken += step.targets
        following = self._steps[states, character] = self._reach(taken)
        return following

    def _reach(self, numbers: Iterable[int], *, is_start: bool = False, is_end: bool = False) -> _States:
        """All steps that are reached without taking a character."""
        reached: set[int] = set()
        ahead = list(numbers)
        while ahead:
            number = ahead.pop()
            if number in reached:
                continue
            reached.add(number)
            step = self._program[number]
            if step.test is None and (is_start or not step.is_start) and (is_end or not step.is_end):
                ahead += step.targets
        return frozenset(reached)


def parse_pattern(text: str) -> Pattern:
    """Compile an expression.

    Raises:
        UsageError: it is none, or one that we refuse; the text says why.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise UsageError(f"the expression is longer than {LONGEST_EXPRESSION} characters")
    reader = _Reader(text)
    build = _alternatives(reader)
    if not reader.at_end:
        raise reader.error("a ) was never opened")
    program = [_Step(())]
    first = build(program, _FOUND)
    return Pattern(program, first)


class _Reader:
    """Goes through an expression character by character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    @property
    def at_end(self) -> bool:
        return self._place == len(self._text)

    def peek(self, count: int = 1) -> str:
        """The next characters, as far as there are any."""
        return self._text[self._place : self._place + count]

    def take(self, wanted: str = "") -> str:
        """The next character, if it is one of `wanted` (or any); else nothing."""
        character = self.peek()
        if wanted and character not in wanted:
            return ""
        self._place += len(character)
        return character

    def error(self, what: str) -> UsageError:
        return UsageError(f"{what}, at character {self._place} of {self._text!r}")


def _add(program: list[_Step], step: _Step) -> int:
    if len(program) >= MOST_STEPS:
        raise UsageError("the expression is too large: use smaller counts in {...}")
    program.append(step)
    return len(program) - 1


def _alternatives(reader: _Reader) -> _Build:
    branches = [_sequence(reader)]
    while reader.take("|"):
        branches.append(_sequence(reader))

    def build(program: list[_Step], after: int) -> int:
        return _add(program, _Step(tuple(branch(program, after) for branch in branches)))

    return build if len(branches) > 1 else branches[0]


def _sequence(reader: _Reader) -> _Build:
    parts: list[_Build] = []
    while not reader.at_end and reader.peek() not in "|)":
        parts.append(_repeated(reader))

    def build(program: list[_Step], after: int) -> int:
        for part in reversed(parts):
            after = part(program, after)
        return after

    return build


def _repeated(reader: _Reader) -> _Build:
    part = _part(reader)
    if reader.at_end or reader.peek() not in "*+?{":
        return part
    least, most = _count(reader)
    reader.take("?")  # Lazy or greedy makes no difference to whether it matches.
    return _repeat(part, least, most)


def _count(reader: _Reader) -> tuple[int, int | None]:
    sign = reader.take()
    if sign != "{":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
    least = _number(reader)
    most = _number(reader) if reader.take(",") else least
    if least is None or not reader.take("}") or (most is not None and most < least):
        raise reader.error("a count is written {2}, {2,} or {2,5}")
    if max(least, most or 0) > MOST_STEPS:
        raise reader.error(f"no count may be larger than {MOST_STEPS}")
    return least, most


def _number(reader: _Reader) -> int | None:
    digits = ""
    while not reader.at_end and reader.peek() in "0123456789":
        digits += reader.take()
    return int(digits) if digits else None


def _repeat(part: _Build, least: int, most: int | None) -> _Build:
    def build(program: list[_Step], after: int) -> int:
        entry = after
        if most is None:
            entry = _add(program, _Step(()))
            program[entry] = _Step((part(program, entry), after))
        else:
            for _ in range(most - least):
                entry = _add(program, _Step((part(program, entry), after)))
        for _ in range(least):
            size, follower = len(program), entry
            entry = part(program, follower)
            if entry == follower and len(program) == size:
                break  # An empty part stays empty, however often it is repeated: `((){99}){99}` must not take 99 * 99.
        return entry

    return build


def _part(reader: _Reader) -> _Build:
    sign = reader.take()
    if sign == "(":
        return _group(reader)
    if sign in "*+?{":
        raise reader.error(f"nothing to repeat before {sign}")
    if sign in "^$":
        step = _Step((), is_start=sign == "^", is_end=sign == "$")
        return lambda program, after: _add(program, step._replace(targets=(after,)))
    test = _class(reader) if sign == "[" else _escape(reader) if sign == "\\" else _one(sign)
    return lambda program, after: _add(program, _Step((after,), test))


def _group(reader: _Reader) -> _Build:
    if reader.take("?") and not reader.take(":"):
        raise reader.error("a filter knows no (?...)")
    inside = _alternatives(reader)
    if not reader.take(")"):
        raise reader.error("a ( is never closed")
    return inside


def _one(sign: str) -> _Test:
    return (lambda _: True) if sign == "." else _range(sign, sign)


def _range(first: str, last: str) -> _Test:
    return lambda character: any(first <= shape <= last for shape in {character, character.lower(), character.upper()})


_ESCAPES: dict[str, _Test] = {
    "d": str.isdecimal,
    "w": lambda character: character.isalnum() or character == "_",
    "s": str.isspace,
    "D": lambda character: not character.isdecimal(),
    "W": lambda character: not (character.isalnum() or character == "_"),
    "S": lambda character: not character.isspace(),
}


def _escape(reader: _Reader) -> _Test:
    sign = reader.take()
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    if not sign or sign.isalnum():
        raise reader.error(f"a filter knows no \\{sign}")
    return _range(sign, sign)


def _class(reader: _Reader) -> _Test:
    is_negated = bool(reader.take("^"))
    tests: list[_Test] = []
    while not tests or reader.peek() != "]":
        tests.append(_member(reader))
    reader.take()
    return lambda character: any(test(character) for test in tests) is not is_negated


def _member(reader: _Reader) -> _Test:
    first = reader.take()
    if not first:
        raise reader.error("a [ is never closed")
    if first == "\\":
        return _escape(reader)
    if reader.peek() != "-" or reader.peek(2) in ("-", "-]"):
        return _range(first, first)
    reader.take()
    last = reader.take()
    if last < first or last == "\\":
        raise reader.error(f"{first}-{last} is no range")
    return _range(first, last)
