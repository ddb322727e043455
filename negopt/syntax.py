r"""The prompt language of the hosts: from raw text to weighted fragments of plain words.

Reads emphasis `(a:1.2)`, `((a))`, `[a]`, `{a}`, prompt editing `[a:b:0.5]`, alternation `[a|b]` and
`{a|b}`, `<lora:x:1>` and its kin, `BREAK`, `AND`, `embedding:name`, `__wildcard__`, `# comments` and
escaped parentheses `\(`. Knows nothing of what the words mean; `terms.py` and `prompt.py` build on it.

One pass of bounded regular expressions, then two passes over the marks found: time grows linearly
with the text, whatever it holds.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

MAX_WEIGHT = 10.0
"""Weights end here: a hundred brackets in a row are a slip of the keyboard, not a wish."""


@dataclass(frozen=True)
class Fragment:
    """Text between two separators, free of syntax, and the weight it stands under.

    `weight` is 1.0 for plain text and at most `MAX_WEIGHT`; zero or below pushes the text away.
    Textual inversions come as `embedding:name`, however they were written.
    """

    text: str
    weight: float = 1.0


# Soft hyphen, zero-width and direction marks, variation selectors, lone surrogates, private use.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\uffff"
    "\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_TYPOGRAPHY = str.maketrans({**dict.fromkeys("‘’´`", "'"), **dict.fromkeys("“”„«»", '"')})


def plain_unicode(text: str) -> str:
    """`text` in NFKC with line ends as `\\n`, without control, invisible or unencodable characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")
    if not text.isascii():
        # NFKC makes a space and an accent of a lone "´", so typography goes first.
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text.translate(_TYPOGRAPHY)))
    return _CONTROL.sub(" ", text)


# What no plain phrase needs: ASCII syntax, arrows, dingbats, emoji, ideographic marks. Letters of any
# script, their accents and digits stay, and so do ' - & / . % + ( ).
_SYMBOL = re.compile(
    '[_\\\\*"<>=|~^{}\\[\\]@#$:;!?\u00a1-\u00bf\u2010-\u2bff\u3000-\u303f\ufe30-\ufe4f\U0001f000-\U0001faff\U0001fb00-\U0001fbff]'
)
_DASH = str.maketrans(dict.fromkeys("‐‑‒–−", "-"))


def without_comments(text: str) -> str:
    """`text` without the comments that hosts take out of prompts."""
    return _COMMENT.sub("", text)


def word_set(text: str) -> frozenset[str]:
    """The words of `text`; tables of words read better as text."""
    return frozenset(text.split())


def plain_words(text: str) -> str:
    """`text` in lower case with underscores and symbols as single spaces, free of outer punctuation."""
    words = " ".join(_SYMBOL.sub(" ", text.translate(_DASH).lower()).split())
    words = words.strip(" '-&/.%+") if words[-1:] != "+" else words.lstrip(" '-&/.%+")
    return words if any(map(str.isalnum, words)) else ""


_MARK = re.compile(
    r"""
    (?= [\s\\<eE_$\d(){}\[\]:;,|.!?\-–—/~+BACFMS、。،؛।•] ) (?:   # what a mark can begin with, for speed
    \\ (?P<escaped> [()\[\]{}<>|:,;\\] )
  | (?P<setting> < set \s [^<>\n]{0,80} > [^<>\n]{0,80} < /set > )
  | < (?!set\s) (?P<tag> [^\s<>,|][^<>\n]{0,300} ) >
  | (?P<embedding> (?<!\w) (?i:embedding) \s? : \s? (?: [^\s,:;()<>\[\]{}|\\] | \\(?![()\[\]{}]) ){1,200} )
  | (?P<dropped> (?<!\w) __ (?=[^\W_]) [\w\-/*.~@+:]{1,80}? __ (?!\w)     # __wildcard__
               | \$\{ [^{}\n]{0,200} \}                                   # ${variable}, ${name=value}
               | \{prompt\}                                               # the slot of an A1111 style
               | (?<=\{) [\d\-]{1,9} \$\$ (?: [^|$(){}\n]{0,20} \$\$ )?   # {2-3$$ and $$a|b|c}
               | (?<=[{|]) \s? \d{0,9}\.?\d{1,9} ::                       # {0.5::a|2::b}
               | (?<!\w) (?: COUPLE | FILL | MASK | AREA | SHIFT ) \( [\d\s.,:]{0,40} \) )
  | (?P<open> [(\[{] )
  | (?: \s? [:;] \s? (?P<weight> NUMBER ) \s? | \s (?P<bare> \d\.\d{1,3} ) \s? | \s? : \s? )?
    (?P<close> [)\]}] )
    (?: \s? : \s? (?P<after> NUMBER ) (?= [\s,;|(<] | $ ) | (?P<glued> \d\.\d{1,3} ) (?![\w.]) )?
  | (?P<join> (?<!\w) (?: BREAK | AND (?: _PERP | _SALT | _TOPK )? | ADD(?: COL|ROW|COMM|BASE ) ) (?!\w) )
  | (?<![\s,(:]\d) (?<![\s,(:]\d\d) (?<!^\d)      # a weight without brackets, but not 16:9
    :{1,2} \s? (?P<number> NUMBER ) (?= \s? (?: [,;|\n<] | $ ) | \s AND\b )
  | (?P<stop> [,;|\n、。،؛।•—]
            | (?: (?<=\w\w) | (?<=\s) ) (?<!\b[MmDdSsVv][rts]) (?<!\b[Mm]rs) (?<!\b[Nn]o) [.!?]+ (?=\s|$)
            | (?<=\s) [\-–/~+]+ (?=\s) )
  | (?P<colon> : ) )
    """.replace("NUMBER", r"[+-]?(?:\d{1,9}\.?\d{0,9}|\.\d{1,9})"),
    re.VERBOSE,
)
# Within a line only "# " begins a comment: "issue #1 of batman" and "a #ff0000 dress" go on.
_COMMENT = re.compile(r"(?:^#(?!\d|\w+[ \t]*(?:[,#<]|$))|(?<=[\s,])#(?!\w))[^\n]*", re.MULTILINE)
_HASHTAG = re.compile(r"(?:^|(?<=[\s,]))#\w+", re.MULTILINE)
_EXTRA_NETWORK = re.compile(r"[a-z_]{2,20}:[^:]*:|(?:lora|lyco|loha|locon|lokr|hypernet|dora|segment)\b", re.I)
_NETWORK = re.compile(r"\w+:")
"""What A1111 takes for an extra network within `<...>`; the rest is text."""
_OPENS = {")": "(", "]": "[", "}": "{"}
_STEP = {"(": 1.1, "[": 1 / 1.1, "{": 1.05}


@dataclass(frozen=True)
class _Bracket:
    """What a pair of brackets does to its content."""

    factor: float
    stated: bool = False
    """Whether the factor is written there."""
    doubled: bool = False
    editing: bool = False

    @property
    def strong(self) -> bool:
        return self.stated or self.doubled or self.editing


def read_fragments(text: str, *, split_weighted: bool = False) -> Iterator[Fragment]:
    """The fragments of `text` in order, without empty ones. Never raises, linear in time.

    Commas, semicolons, `|`, line ends, full stops after a word, `BREAK` and (outside brackets) `AND`
    separate. Brackets alone do not, so that `a (red:1.2) dress` stays one fragment, unless they meet,
    `(a)(b)`, or push away, `(a:-1)`. With `split_weighted` strong ones do, too, as suits a negative
    prompt: `(text:1.2) watermark`. A fragment of several pieces has its heaviest piece's weight.
    """
    text = _HASHTAG.sub(" ", _COMMENT.sub(" ", plain_unicode(text)))
    marks = list(_MARK.finditer(text))
    brackets = _match_brackets(marks)
    pieces = _Pieces()
    outer: list[tuple[_Bracket, float]] = []
    weight, at, just_closed = 1.0, 0, False
    for index, mark in enumerate(marks):
        between = text[at : mark.start()]
        pieces.add(between, weight)
        met, just_closed, at = just_closed and not between.strip(), False, mark.end()
        bracket = brackets.get(index)
        if mark["open"] and bracket:
            outer.append((bracket, weight))
            weight = min(MAX_WEIGHT, max(-MAX_WEIGHT, weight * bracket.factor))
            if met or weight <= 0 or (split_weighted and bracket.strong):
                yield from pieces.flush()
        elif mark["close"] and bracket:
            if weight <= 0 or bracket.editing or (split_weighted and bracket.strong):
                yield from pieces.flush()
            weight, just_closed = outer.pop()[1], True
        elif mark["escaped"] or mark["join"]:
            if _separates(mark["join"], bracketed=bool(outer)):
                yield from pieces.flush()
            else:
                pieces.add(mark["escaped"] or mark["join"], weight)
        elif name := mark["embedding"] or mark["tag"]:
            yield from pieces.flush()
            pieces.add(*_read_name(name, weight))
            yield from pieces.flush()
        elif mark["number"]:
            pieces.scale(float(mark["number"]))
            yield from pieces.flush()
        elif mark["stop"] or (mark["colon"] and _colon_separates(text[at : at + 1], outer)):
            yield from pieces.flush()
        else:
            pieces.add(mark["colon"] or " ", weight)
    pieces.add(text[at:], weight)
    yield from pieces.flush()


def read_emphasis(text: str, *, comfyui: bool = False) -> list[tuple[str, float] | None]:
    """`text` as a text encoder reads it, in pieces, each under one weight; None where `BREAK` stands.

    Words, case and punctuation stay as written, names of embeddings among them; syntax goes: of prompt editing and
    alternation all sides stand, extra networks, wildcards and comments are left out. Brackets count as in
    AUTOMATIC1111: in `(a (b:1.2):1.5)` b has 1.8, what is never closed goes on to the end, and `BREAK` under a weight
    is a word that pushes away. Or as in `comfyui`: b has 1.2, only round brackets with a partner are any, and each
    begins a piece. Weights are from -`MAX_WEIGHT` to `MAX_WEIGHT`. Never raises, linear in time.
    """
    text = _HASHTAG.sub(" ", _COMMENT.sub(" ", plain_unicode(text)))
    marks, kinds = list(_MARK.finditer(text)), "(" if comfyui else "(["
    brackets = {at: pair for kind in kinds for at, pair in _match_brackets(marks, kind, _as_hosts_weigh).items()}
    pieces: list[tuple[list[str], float] | None] = []
    outer: dict[str, list[tuple[_Bracket, float]]] = {kind: [] for kind in kinds}  # which may cross
    weights, never_closed, at, apart = dict.fromkeys(kinds, 1.0), 1.0, 0, False

    def now() -> float:
        return _bounded(math.prod(weights.values()) * never_closed)

    def add(said: str) -> None:
        nonlocal apart
        weight = now()
        if pieces and pieces[-1] and pieces[-1][1] == weight and not apart:
            pieces[-1][0].append(said)
        elif said:
            pieces.append(([said], weight))
            apart = False

    for index, mark in enumerate(marks):
        add(text[at : mark.start()])
        at = mark.end()
        bracket = brackets.get(index)
        if mark["open"] and bracket:
            kind = mark["open"]
            outer[kind].append((bracket, weights[kind]))
            weights[kind] = _bounded(bracket.factor * (1.0 if comfyui and bracket.stated else weights[kind]))
            apart = comfyui
        elif mark["close"] and bracket:
            kind = _OPENS[mark["close"]]
            before, after = mark[0].split(mark["close"])
            add("" if bracket.strong else before)
            weights[kind] = outer[kind].pop()[1]
            apart = comfyui
            add(after)
        elif mark["open"] and mark["open"] in kinds and not comfyui:
            never_closed = _bounded(never_closed * _STEP[mark["open"]])
        elif mark["join"] == "BREAK" and (comfyui or now() == 1):
            pieces.append(None)
        elif mark["join"] == "BREAK":
            pieces.append((["BREAK"], -now()))
        else:
            innermost = outer.get("[", [])[-1:]
            add(_as_read(mark, editing=any(pair.editing for pair, _ in innermost), comfyui=comfyui))
    add(text[at:])
    return [piece and ("".join(piece[0]), piece[1]) for piece in pieces]


def _bounded(weight: float) -> float:
    return min(MAX_WEIGHT, max(-MAX_WEIGHT, weight))


def _as_read(mark: re.Match[str], editing: bool, comfyui: bool) -> str:
    """What a text encoder reads of a mark that is no bracket with a partner."""
    if mark["escaped"]:
        return mark[0] if comfyui and mark["escaped"] not in "()" else mark["escaped"]
    if mark["setting"] or mark["dropped"] or (mark["tag"] and _NETWORK.match(mark["tag"])):
        return ""
    if mark["join"] or (mark["stop"] == "|" and not comfyui) or (mark["colon"] and editing):
        return ", "
    return mark[0]


class _Pieces:
    """The fragment under construction."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._texts: list[str] = []
        self._weight = -MAX_WEIGHT

    def add(self, text: str, weight: float) -> None:
        self._texts.append(text)
        if text and not text.isspace():
            self._weight = max(self._weight, weight)

    def scale(self, factor: float) -> None:
        self._weight = min(MAX_WEIGHT, max(-MAX_WEIGHT, self._weight * factor))

    def flush(self) -> Iterator[Fragment]:
        text = " ".join("".join(self._texts).split())
        if text:
            yield Fragment(text, round(self._weight, 3))
        self._clear()


def split_parameters(text: str) -> tuple[str, str]:
    """The prompt and the negative prompt of A1111's generation parameters, which people paste whole.

    Plain text is all prompt. What follows `Steps: 20, Sampler: ...` is dropped.
    """
    if settings := _SETTINGS.search(text):
        text = text[: settings.start()]
    marker = _NEGATIVE_PROMPT.search(text)
    return (text[: marker.start()], text[marker.end() :]) if marker else (text, "")


_SETTINGS = re.compile(r"\bSteps\s?:\s?\d{1,5}\s?,\s?(?:Sampler|Schedule|Seed|Size|CFG|Model)|\bUnprompted Seed:")
_NEGATIVE_PROMPT = re.compile(r"\bnegative[ _]prompt\s?:", re.IGNORECASE)


def _match_brackets(
    marks: list[re.Match[str]], kinds: str = "([{", weigh: Callable[[re.Match[str], bool], _Bracket] | None = None
) -> dict[int, _Bracket]:
    """The brackets of these kinds that have a partner, found under the index of either mark; strays are left out."""
    found: dict[int, _Bracket] = {}
    waiting: list[int] = []
    count = dict.fromkeys(_STEP, 0)
    for index, mark in enumerate(marks):
        if mark["open"] and mark["open"] in kinds:
            waiting.append(index)
            count[mark["open"]] += 1
        elif mark["close"] and count[_OPENS[mark["close"]]]:
            while True:  # brackets of another kind in between were never closed
                opened = waiting.pop()
                count[marks[opened]["open"]] -= 1
                if marks[opened]["open"] == _OPENS[mark["close"]]:
                    break
            following = marks[opened + 1]
            doubled = bool(following["open"]) and following.start() == marks[opened].end()
            found[opened] = found[index] = (weigh or _read_bracket)(mark, doubled)
    return found


def _read_bracket(closing: re.Match[str], doubled: bool) -> _Bracket:
    kind = _OPENS[closing["close"]]
    stated = closing["weight"] or closing["bare"] or closing["after"] or closing["glued"]
    if kind == "[" and closing["weight"]:  # [a:b:0.5]: the number is a time, not a weight
        return _Bracket(1.0, editing=True)
    if stated:
        return _Bracket(float(stated), stated=True)
    return _Bracket(_STEP[kind], doubled=doubled)


def _as_hosts_weigh(closing: re.Match[str], doubled: bool) -> _Bracket:
    """Hosts take a number for a weight only behind a colon and within the brackets: of `(a 1.2)` they read all."""
    stated = closing["weight"] and ":" in closing[0].split(closing["close"])[0]
    return _read_bracket(closing, doubled) if stated else _Bracket(_STEP[_OPENS[closing["close"]]])


def _read_name(name: str, weight: float) -> tuple[str, float]:
    """Text and weight for what stood in `<...>` or after `embedding:`; extra networks vanish."""
    name = "".join(name.split()) if name[:9].lower() == "embedding" else name
    if name[:10].lower() == "embedding:":
        return name, weight
    if _EXTRA_NETWORK.match(name):
        return "", weight
    name, _, stated = name.partition(":")
    with suppress(ValueError):
        weight *= max(-MAX_WEIGHT, min(MAX_WEIGHT, float(stated)))
    return (name if " " in name else f"embedding:{name}"), weight


def _separates(join: str | None, bracketed: bool) -> bool:
    """`AND` inside brackets is a word in capitals: `(mutated hands AND fingers:1.2)`."""
    return join is not None and not (bracketed and join == "AND")


def _colon_separates(following: str, outer: list[tuple[_Bracket, float]]) -> bool:
    return following.isspace() or bool(outer and outer[-1][0].editing)
