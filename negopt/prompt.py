"""What a prompt asks for, and what it asks to leave out, in plain words.

Reads tags ("1girl, red_dress, no humans") and English sentences ("a street without people at night")
alike; other languages pass through as what is wanted. Knows the hosts' syntax only through `syntax.py`,
and nothing of negative prompts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .syntax import plain_words, read_fragments


@dataclass(frozen=True)
class Prompt:
    """A prompt, read.

    `text` is all of it as plain lower-case words, fragments joined with ", ", without any syntax: the
    network's input. `wanted` are the phrases it asks for; `unwanted` those that it negates itself ("no
    text", "without people", "text-free", a weight of zero or below), without the negating word.
    """

    text: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]


def read_prompt(prompt: str) -> Prompt:
    """Reads any prompt. Never raises; time is linear in its length."""
    texts: list[str] = []
    wanted: dict[str, None] = {}
    unwanted: dict[str, None] = {}
    tail: list[str] | None = None  # what was asked for since a negation: "no text, signs, or logos"
    for fragment in read_fragments(_PARAMETER.sub(_as_words, prompt)):
        text = (
            "" if _NAMES_FILE.match(fragment.text) else plain_words(fragment.text.replace("(", " ").replace(")", " "))
        )
        if not text:
            continue
        if fragment.weight <= 0:
            unwanted[_bare(text.split())] = None
            continue
        texts.append(text)
        words = text.split()
        if words[0] in ("or", "nor") and tail is not None:
            for phrase in tail:
                wanted.pop(phrase, None)
                unwanted[phrase] = None
            words[0] = "no"
        phrases = [(_bare(part), denied) for part, denied in _phrases(words) if not denied or len(part) <= 6]
        for phrase, denied in phrases:
            if phrase:
                (unwanted if denied else wanted)[phrase] = None
        if phrases and phrases[-1][1]:
            tail = []
        elif tail is not None and len(words) <= 3 and len(tail) < 8:
            tail.append(text)
        else:
            tail = None
    return Prompt(", ".join(texts), tuple(wanted), tuple(phrase for phrase in unwanted if phrase))


# Midjourney's parameters, which people paste along: `--no text, people --ar 2:3`.
_PARAMETER = re.compile(
    r"(?<![\w\-])--(?:no\s(?P<no>[^\n<>()\[\]{}]{1,200}?)(?=\s--|\n|$)|[a-z]{1,12}(?:[ =][\d.:]{1,9}|(?=\s|$)))"
)
_NAMES_FILE = re.compile(r"embedding:", re.I)


def _as_words(parameter: re.Match[str]) -> str:
    listed = (parameter["no"] or "").split(",")
    return " , " + ", ".join(f"no {item}" for item in listed if item.strip())


_ARTICLES = frozenset("a an his her their its my your our some this these those another".split())
# Words at which one phrase ends and the next begins, whatever follows.
_CLAUSE = frozenset(
    "but while who whom whose which that where when because although though however is are was were be been "
    "being has have had then there it he she they we i you".split()
)
# Words at which a phrase ends when an article follows: "an old man | with a hat".
_LINK = frozenset(
    "with and or of in on at by for from to into onto over under above below behind between near beside beneath "
    "through during against towards as wearing holding featuring showing including containing depicting having "
    "amid among around inside outside like via".split()
)
# Words that end what a negation covers: "without people | at night".
_END = _CLAUSE | (_LINK - {"and", "or", "of", "wearing", "holding", "showing", "having", "including", "to", "for"})
_END |= frozenset("just only standing sitting walking yet so anywhere allowed present whatsoever please".split())

_NEGATION = re.compile(
    r"""
    (?: no (?! \s (?: matter | doubt | longer | more | less | \d ) \b | \s? \. )
      | without | sans (?! \s serif) | excluding | exclude | avoid | avoiding | lacking | devoid \s of | absence \s of
      | lack \s of | free \s (?: of (?! \s charge ) | from ) | empty \s of | instead \s of | rather \s than
      | (?: do | does | did | is | are | should | must | can ) (?: n't | \s not ) | cannot | can't
      | not (?! \s (?: only | just | yet | to | be | unlike | necessarily | so | least ) \b ) )
    (?: \s (?: show | include | have | wear | contain | draw | add | use | depict ) )?
    (?: \s (?: any | a | an | the | visible ) )?
    (?= \s | $ )
    """,
    re.VERBOSE,
)
_COMPOUND = re.compile(
    r"(?:no|non)-(?!nonsense|name|brainer|go$|fiction|stop|binary|linear)(?P<after>\w[\w\-]*)"
    r"|(?!hands|duty|care|sugar|gluten|royalty|rent|scot)(?P<before>\w[\w\-]*)-free"
    r"|(?P<less>text|word|logo|watermark|border|frame)less"
)
_FREE = frozenset(
    "text noise clutter blur watermark wrinkle blemish error artifact logo grain people crowd distraction "
    "defect border frame distortion".split()
)


def _phrases(words: list[str]) -> Iterator[tuple[list[str], bool]]:
    """The phrases of one fragment, each with whether it is negated."""
    text = " ".join(words)
    starts, at = [], 0
    for word in words:
        starts.append(at)
        at += len(word) + 1
    part: list[str] = []
    denied = False
    index = 0
    while index < len(words):
        word = words[index]
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in _NOBODY or (word == "no" and following == "one"):
            yield part, denied
            yield ["people"], True
            part, denied = [], False
            index += 2 if word == "no" else 1
            continue
        if compound := _COMPOUND.fullmatch(word):
            yield part, denied
            yield [compound["after"] or compound["before"] or compound["less"]], True
            part, denied = [], False
        elif following == "free" and word in _FREE and words[index + 2 : index + 3] not in (["of"], ["from"]):
            yield part, denied
            yield [word], True
            part, denied, index = [], False, index + 1
        elif (negation := _NEGATION.match(text, starts[index])) and _negates(part, word, following):
            yield part, denied
            part, denied = [], True
            index += negation[0].count(" ")
        elif denied and part and (word in _END or (word == "and" and not _list_goes_on(words, index))):
            yield part, True
            part, denied = [], False
        elif denied and part and word in ("and", "or", "nor"):
            yield part, True
            part = []
        elif not denied and (word in _CLAUSE or (word in _LINK and following in _ARTICLES)):
            yield part, False
            part = []
        else:
            part.append(word)
        index += 1
    yield part, denied


# "Kimi no na wa", "majo no tabitabi": after a content word, "no" is Japanese unless an everyday thing follows.
_BEFORE_NO = _CLAUSE | _LINK | frozenset("absolutely contain contains see image picture photo pure".split())
_EVERYDAY = frozenset(
    "text texts watermark watermarks signature signatures logo logos people person persons human humans blur border "
    "borders frame frames background noise grain hat glasses clothes clothing makeup make-up shadow shadows hands "
    "letters words writing title artifacts distortion face hair beard color colors clouds cars animals one other".split()
)


def _negates(part: list[str], word: str, following: str) -> bool:
    return word != "no" or not part or part[-1] in _BEFORE_NO or following in _EVERYDAY


_NOBODY = frozenset(("nobody", "noone", "no-one", "no-body"))


def _list_goes_on(words: list[str], index: int) -> bool:
    """Whether "and" at `index` joins two negated things: "no text and logos", not "no text and vivid colors"."""
    return words[index + 1 : index + 2] != [] and words[index + 1] not in _ARTICLES | _END and len(words) == index + 2


# What says nothing at the edge of a phrase.
_EDGE = frozenset("a an the any some and or with of in at by is are to its very too so overly".split())
_LEADING = _EDGE | frozenset("wearing having showing including containing adding using being holding visible".split())


def _bare(words: list[str]) -> str:
    """The phrase without articles and links at its edges."""
    start, end = 0, len(words)
    while start < end and words[start] in _LEADING:
        start += 1
    while end > start and words[end - 1] in _EDGE:
        end -= 1
    return " ".join(words[start:end])
