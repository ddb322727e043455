"""Which words of a phrase are denied: "a street | without people | at night".

Reads English as people write it in prompts, tags and sentences alike; what it does not understand, it
takes as asked for. Knows nothing of prompt syntax or negative prompts.
"""

from __future__ import annotations

import re

from .syntax import word_set

LONGEST_DENIED = 6
"""What follows a "not" for longer than this is a story, not a thing to leave out."""

Part = tuple[str, bool]
"""A phrase without articles and links at its edges, and whether it is denied."""


def split_parts(words: list[str]) -> list[Part]:
    """The phrases of one fragment of plain lower-case words, in order. Linear in their number."""
    return _Reader(words).read()


def continues_list(words: list[str], denied: str) -> bool:
    """Whether a fragment some way after the denied one belongs to it: "no text, | signatures, | or logos"."""
    never_asked = _NEVER_ASKED | _SOMETIMES_ASKED if denied in _NEVER_ASKED else _NEVER_ASKED
    return closes_list(words) or all(word in _CONJUNCTIONS or word in never_asked for word in words)


def closes_list(words: list[str]) -> bool:
    """Whether the fragment shows that all since the denied one was its list: "no cats, | dogs, | or birds"."""
    return words[0] in ("or", "nor")


def bare(words: list[str]) -> str:
    """The phrase without articles and links at its edges."""
    start, end = 0, len(words)
    while start < end and words[start] in _EDGE_LEFT:
        start += 1
    while end > start and words[end - 1] in _EDGE:
        end -= 1
    return " ".join(words[start:end])


_ARTICLES = word_set("a an his her their its my your our some this these those another")
_CONJUNCTIONS = word_set("and or nor")
# Words at which one phrase ends and the next begins, whatever follows.
_CLAUSE = word_set(
    """but while who whom whose which that where when because although though however is are was were be been being
    has have had then there it he she they we i you"""
)
# Words at which a phrase ends when an article follows: "an old man | with a hat".
_LINK = word_set(
    """with and or of in on at by for from to into onto over under above below behind between near beside beneath
    through during against towards as wearing holding featuring showing including containing depicting having amid
    among around inside outside like via"""
)
# Words that end what a negation covers: "without people | at night".
_END = (_CLAUSE | _LINK | word_set("just only standing sitting walking yet so anywhere allowed present please")) - (
    word_set("and or of wearing holding showing having including to for")
)
_EDGE = word_set("a an the any some and or of with is are to its very too so overly")
_EDGE_LEFT = _EDGE | word_set("wearing having showing including containing adding using being holding visible")

_NEGATION = re.compile(
    r"""
    (?: no (?! \s (?: matter | doubt | longer | more | less | \d | man's \s sky | face \s from
                     | (?: smoking | parking | entry | trespassing | swimming | fishing ) \s signs? ) \b | \s? \. )
      | without | sans (?! \s (?: serif | undertale | font | text ) \b ) | neither | excluding | exclude
      | avoid | avoiding | lacking | devoid \s of | absence \s of | lack \s of
      | free \s (?: of (?! \s charge ) | from ) | empty \s of | instead \s of | rather \s than
      | (?: do | does | did | is | are | should | must ) (?: n't | \s not ) (?! \s starve \b )
      | not (?! \s (?: only | just | yet | to | be | unlike | necessarily | so | least ) \b ) )
    (?: \s (?: show | include | have | wear | contain | draw | add | use | depict ) )?
    (?: \s (?: any | a | an | the | visible ) )?
    (?= \s | $ )
    """,
    re.VERBOSE,
)
# What a negation can begin with, for speed.
_OPENERS = word_set(
    """no without sans neither excluding exclude avoid avoiding lacking devoid absence lack free empty instead rather
    do does did is are should must not don't doesn't didn't isn't aren't shouldn't mustn't"""
)
_COMPOUND = re.compile(
    r"(?:no|non)-(?!nonsense|name|face$|brainer|go$|fiction|stop|binary|linear)(?P<after>\w[\w\-]*)"
    r"|(?!hands|duty|care|sugar|gluten|royalty|rent|scot)(?P<before>\w[\w\-]*)-free"
    r"|(?P<less>text|word|logo|watermark|border|frame)less"
)
_NOBODY = word_set("nobody noone no-one no-body")
# "text free image", while "breaking free" is not about breaking.
_FREE = word_set(
    """text noise clutter blur watermark wrinkle blemish error artifact logo grain people crowd distraction defect
    border frame distortion"""
)
# "Kimi no na wa": after a content word, "no" is Japanese unless one of these follows.
_DENIED_AFTER_WORDS = word_set(
    """text texts watermark watermarks signature signatures logo logos people person persons human humans blur border
    borders frame frames background noise grain hat glasses clothes clothing makeup make-up shadow shadows hands
    letters words writing title artifacts distortion face hair beard color colors clouds cars animals one other"""
)
_BEFORE_NO = _CLAUSE | _LINK | word_set("absolutely contain contains see image picture photo pure completely")
# "a sign saying no smoking" quotes; it denies nothing.
_QUOTES = word_set("says say saying reads read reading titled called named sign written words word text lettering")
# What prompts name only to be without it, so that a list goes on: "no text, watermark, logo".
_NEVER_ASKED = word_set(
    """watermark watermarks signature signatures username usernames text logos captions borders artifacts distortion
    distortions noise blur jpeg words"""
)
# Wanted by itself ("a fox, no background, logo"), but not after one of these: "no text, watermark, logo".
_SOMETIMES_ASKED = word_set("logo letters lettering title")
# What one does to be free of something; nothing is left out of the picture by it.
_GETTING_FREE = word_set("break breaks breaking broke broken get gets getting run runs running set sets setting")


class _Reader:
    """Goes through the words once and cuts them into parts."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._text = " ".join(words)
        self._parts: list[Part] = []
        self._part: list[str] = []
        self._denied = False

    def read(self) -> list[Part]:
        index = start = 0  # of the word, and where it starts in the text
        while index < len(self._words):
            taken = self._take(index, start)
            start += sum(len(word) + 1 for word in self._words[index : index + taken])
            index += taken
        self._cut()
        return self._parts

    def _take(self, index: int, start: int) -> int:
        """Reads the word at `index` and perhaps some that follow; how many."""
        word, following = self._words[index], "".join(self._words[index + 1 : index + 2])
        if word in _NOBODY:
            return self._deny("people", 1)
        if word == "no" and following == "one":
            return self._deny("people", 2)
        if ("-" in word or word.endswith("less")) and (compound := _COMPOUND.fullmatch(word)):
            return self._deny(compound["after"] or compound["before"] or compound["less"], 1)
        if following == "free" and word in _FREE and self._words[index + 2 : index + 3] not in (["of"], ["from"]):
            return self._deny(word, 2)
        negation = _NEGATION.match(self._text, start) if word in _OPENERS else None
        if negation and self._negates(word, following):
            self._cut(denied=True)
            return negation[0].count(" ") + 1
        if not self._denied:
            if word in _CLAUSE or (word in _LINK and following in _ARTICLES):
                self._cut()
            else:
                self._part.append(word)
        elif self._part and (word in _END or (word == "and" and not self._list_goes_on(index))):
            self._cut()
        elif self._part and word in _CONJUNCTIONS:
            self._cut(denied=True)
        else:
            self._part.append(word)
        return 1

    def _deny(self, phrase: str, taken: int) -> int:
        self._cut()
        self._parts.append((phrase, True))
        return taken

    def _cut(self, denied: bool = False) -> None:
        """Ends the current part; `denied` is what the next one will be."""
        phrase = bare(self._part)
        if phrase and not (self._denied and len(self._part) > LONGEST_DENIED):
            self._parts.append((phrase, self._denied))
        self._part, self._denied = [], denied

    def _negates(self, word: str, following: str) -> bool:
        before = self._part[-1] if self._part else ""
        if word == "sans":
            return before not in ("comic", "open")
        if word == "free":
            return before not in _GETTING_FREE
        if word == "not":
            return self._part[-2:] != ["forget", "me"]
        if word in ("avoid", "avoiding"):  # an order stands at the beginning; "a ninja avoiding arrows" is a picture
            return before in ("", "and", "please", "must", "should")
        if word != "no" or not before:
            return True
        return before not in _QUOTES and (before in _BEFORE_NO or following in _DENIED_AFTER_WORDS)

    def _list_goes_on(self, index: int) -> bool:
        """Whether "and" joins two denied things: "no text and logos", not "no text and vivid colors"."""
        return index + 2 == len(self._words) and self._words[index + 1] not in _ARTICLES | _END
