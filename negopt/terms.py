"""A negative prompt as a list of terms: split, compare, write.

A term is what stands between commas: "bad anatomy", "jpeg artifacts", the name of an embedding.
Knows nothing of prompts, of conflicts between the two, or of any network.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .syntax import plain_words, read_fragments


@dataclass(frozen=True)
class Term:
    """One term. `text` is plain and in lower case (an embedding keeps its case); `weight` is above 0."""

    text: str
    weight: float = 1.0


def split_terms(negative: str) -> list[Term]:
    """The terms of any negative prompt in order, repeats included. Never raises, linear in time.

    Terms that the writer pushed the other way (a weight of zero or below) are left out, and so is
    what holds no letter at all.
    """
    terms = []
    for fragment in read_fragments(negative, split_weighted=True):
        if fragment.weight > 0:
            terms += [Term(text, fragment.weight) for text in _term_texts(fragment.text)]
    return terms


def unique_terms(terms: Iterable[Term]) -> list[Term]:
    """The first term of each `term_key`, in order."""
    first: dict[str, Term] = {}
    for term in terms:
        first.setdefault(term_key(term.text), term)
    return list(first.values())


def format_terms(terms: Iterable[Term], weights: bool = True) -> str:
    """The terms as the hosts read them: `(worst quality:1.4), lowres`.

    Brackets inside a term are escaped. Neighbours of one weight share their brackets. With `weights`
    false all terms come without emphasis.
    """
    groups: list[tuple[float, list[str]]] = []
    for term in terms:
        weight = round(term.weight, 2) if weights else 1.0
        if not groups or groups[-1][0] != weight:
            groups.append((weight, []))
        groups[-1][1].append(re.sub(r"([()\[\]])", r"\\\1", term.text))
    return ", ".join(
        ", ".join(texts) if weight == 1 else f"({', '.join(texts)}:{weight:g})" for weight, texts in groups
    )


@lru_cache(maxsize=65536)
def _term_texts(fragment: str) -> tuple[str, ...]:
    """A fragment's terms: one, unless it names embeddings among its words."""
    if not is_embedding(fragment):
        text = plain_words(fragment)
        return (text,) if _is_term(text) else ()
    if fragment.endswith(" -neg"):  # a few files have spaces in their names: "By bad artist -neg"
        return (fragment,)
    texts: list[str] = []
    words: list[str] = []
    for word in [*fragment.split(), ""]:
        if word and not is_embedding(word):
            words.append(word)
            continue
        plain = plain_words(_BY.sub("", " ".join(words)))
        texts += [plain] if _is_term(plain) else []
        texts += [word.strip(".:;!\"'*")] if word else []
        words = []
    return tuple(texts)


def _is_term(text: str) -> bool:
    """Whether something is left to say: a letter, and more than a single one of the Latin alphabet."""
    return any(map(str.isalpha, text)) and not (len(text) == 1 and text.isascii())


# Names of widely used negative embeddings, letters only: found anywhere inside a word they decide.
_KNOWN_EMBEDDINGS = re.compile(
    "easyneg|deepn[ea]+g[ae]tiv|verybadimage|badartist|badprompt|badpicture|badimage|baddream|unrealisticdream"
    "|unspeakablehorror|fastneg|vileprompt|negativehand|negembed|negativeembed|cyberrealisticneg|epicneg"
    "|aidxl|rmadaneg|negfacelift|negcolori[sz]e|neglowres|negmutation|negfeet|negprompt|negativegen|negativebs"
    "|boringe|ulzzang|kkw|rzneg|drdpnte|npsimple|simpleneg|difconsistency|juggernautneg|paintstyleneg|flonixneg"
    "|caravaggioneg|auroraneg|cyberneg|lanjiao|lisdusk|dangerdonkey|dangergoose|dangerhawk|dangerhorse"
    "|dangermoose|dangermouse|dangercrow|animebadhand|badandmutated|pureerosface|styleneb|badneganatomy"
    "|asynegative|easyneagtive|madness.?analog|unaestheticxl|negativexl|civitneg|safeneg|realisticvisionneg"
)
# How such files are called otherwise, in lower case with underscores as hyphens.
_EMBEDDING_NAME = re.compile(
    r"""
    ^ embedding: . | ^ <? embed: . | \. (?: pt | bin | safetensors | ckpt ) $
  | ^ bad (?: hand | feet$ | foots | finger | qualit | anatom | eyes$ | body$ | pantie | bad | -bad )
  | ^ bad-hands?-v?\d | ^ bhands | (?: ^ | - ) neg $ | ^ ng-\w | ^ neg-[a-z\d] | \dneg $ | -negs? (?: -? v? [\d.]+ ) $
  | -negative (?: $ | -) | ^ negative-[a-z\d]+ (?: -\d | $ ) | ^ (?: aid | an ) v? \d
  | [a-z] -? v\d+ (?: \.\d+ )? (?: $ | [\-_] ) | [a-z\d] - \d{3,6} $ | - \d+ [tv] $ | zoov?n?v?\d | ^ ngtv | ^ sd15-
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=65536)
def is_embedding(text: str) -> bool:
    """Whether `text` names a textual-inversion file (`EasyNegative`, `bad-hands-5`, `embedding:x`).

    Judged by the names in wide use and by how such files are called: versions, step counts, "neg".
    A phrase that holds such a name ("sketch by bad-artist") counts, too; plain words do not.
    """
    return any(map(_is_embedding_name, text.lower().split()))


@lru_cache(maxsize=65536)
def _is_embedding_name(word: str) -> bool:
    name = word.replace("_", "-").strip("<>()'\"-+")
    return bool(_EMBEDDING_NAME.search(name) or _KNOWN_EMBEDDINGS.search(re.sub(r"[\W\d_]+", "", word)))


_BY = re.compile(
    r"\b(?:(?:art|painting|sketch|illustration|image|drawing)s?\s+)?by(?:\s+(?:an?|the))?\s*$", re.I
)

# One word for several spellings.
_SPELLINGS = {
    "grey": "gray",
    "greyscale": "grayscale",
    "colour": "color",
    "coloured": "colored",
    "jpg": "jpeg",
    "artefact": "artifact",
    "b&w": "black and white",
    "bw": "black and white",
    "men": "man",
    "women": "woman",
    "feet": "foot",
    "teeth": "tooth",
    "children": "child",
    "bodies": "body",
    "lenses": "lens",
    "mouths": "mouth",
}
# Words whose final s is no plural, or whose plural is another thing.
_NO_PLURAL = frozenset(
    "glasses sunglasses eyeglasses goggles shorts tights pants jeans clothes panties boxers briefs overalls "
    "lowres highres hires midres lores absurdres ultrares lens canvas chaos christmas series species news "
    "texas paris jesus bus gas yes us this his its is as was has does always less plus thus minus "
    "cosplays always perhaps mars venus atlas alias bias iris kiss".split()
)
_NOT_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """A lower-case word without its plural ending and in the common spelling: fingers, finger; grey, gray."""
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if len(word) < 4 or not word.endswith("s") or word in _NO_PLURAL or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return _SPELLINGS.get(word[:-1], word[:-1])


def words_of(text: str) -> list[str]:
    """The words of `text` in lower case, singular, spelled in the common way; punctuation is gone."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("'s ", " ").replace("b&w", "bw")
    return " ".join(map(singular, _NOT_WORD.sub(" ", plain).split())).split()


@lru_cache(maxsize=262144)
def term_key(text: str) -> str:
    """What a term is, whatever its spelling: equal for `low-res` and `lowres`, `extra_fingers` and `Extra finger`.

    NFKC, case, punctuation, spaces, plural and British spelling make no difference; blurry and blurred do.
    """
    if is_embedding(text):
        name = text.casefold().removeprefix("embedding:")
        return _NOT_WORD.sub("", re.sub(r"\.(?:pt|bin|safetensors)$", "", name)) or name
    return "".join(words_of(text)) or text.strip().casefold()
