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

from .syntax import plain_words, read_fragments, split_parameters, word_set


@dataclass(frozen=True)
class Term:
    """One term. `text` is plain and in lower case (an embedding keeps its case, a tag of Pony Diffusion its
    underscore: "score_4"); `weight` is above 0."""

    text: str
    weight: float = 1.0


def split_terms(negative: str) -> list[Term]:
    """The terms of any negative prompt in order, repeats included. Never raises, linear in time.

    Terms that the writer pushed the other way (a weight of zero or below) are left out, and so is
    what holds no letter at all.
    """
    terms = []
    for fragment in read_fragments(", ".join(split_parameters(negative)), split_weighted=True):
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
        weight = max(0.01, round(term.weight, 2)) if weights else 1.0
        if not groups or groups[-1][0] != weight:
            groups.append((weight, []))
        groups[-1][1].append(re.sub(r"([()\[\]])", r"\\\1", term.text))
    return ", ".join(
        ", ".join(texts) if weight == 1 else f"({', '.join(texts)}:{weight:g})" for weight, texts in groups
    )


# One word for several spellings, and plurals that do not end in s.
_SPELLINGS = {
    "grey": "gray",
    "greyscale": "grayscale",
    "colour": "color",
    "coloured": "colored",
    "jpg": "jpeg",
    "artefact": "artifact",
    "men": "man",
    "women": "woman",
    "feet": "foot",
    "teeth": "tooth",
    "children": "child",
    "bodies": "body",
    "lenses": "lens",
}
# Words whose final s is no plural, or whose plural is another thing.
_NO_PLURAL = word_set(
    """glasses sunglasses eyeglasses goggles shorts tights pants jeans clothes panties boxers briefs overalls
    lowres highres hires midres lores absurdres ultrares lens canvas chaos christmas series species news texas
    paris gas yes his was has does always less perhaps mars venus atlas alias bias"""
)
_NOT_WORD = re.compile(r"[\W_]+")
_IN_NUMBER = re.compile(r"(?<=\d)[.:/](?=\d)")
_BLACK_AND_WHITE = re.compile(r"\bb ?& ?w\b|\bbw\b")


@lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """A lower-case word in the singular and in its common spelling: fingers, finger; grey, gray."""
    if word in _SPELLINGS:
        return _SPELLINGS[word]
    if len(word) < 4 or not word.endswith("s") or word in _NO_PLURAL or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    return _SPELLINGS.get(word[:-1], word[:-1])


def split_words(text: str) -> list[str]:
    """The words of `text` in lower case, without punctuation; 1.8 and 16:9 are one word each."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    elif text.replace(" ", "").isalnum() and "bw" not in text:  # nothing to do for most terms
        return text.lower().split()
    text = _BLACK_AND_WHITE.sub("black and white", text.casefold().replace("'s ", " "))
    return _NOT_WORD.sub(" ", _IN_NUMBER.sub("", text)).split()


def words_of(text: str) -> list[str]:
    """`split_words`, each `singular`."""
    return [singular(word) for word in split_words(text)]


@lru_cache(maxsize=262144)
def term_key(text: str) -> str:
    """What a term is, whatever its spelling: the same for "low-res" and "lowres", "extra_fingers" and
    "Extra finger".

    NFKC, case, punctuation, spaces, plural and British spelling make no difference; "blurry" and
    "blurred" do. Empty for text without letters or digits only if the text is blank.
    """
    if is_embedding(text):
        name = re.sub(r"^embed(?:ding)?:|\.(?:pt|bin|safetensors)$", "", text.casefold())
        return _NOT_WORD.sub("", name) or name
    return "".join(words_of(text)) or text.strip().casefold()


@lru_cache(maxsize=65536)
def is_embedding(text: str) -> bool:
    """Whether `text` names a textual-inversion file (`EasyNegative`, `bad-hands-5`, `embedding:x`).

    Judged by the names in wide use and by how such files are called: versions, step counts, "neg".
    A phrase that holds such a name ("sketch by bad-artist") counts, too; plain words do not.
    """
    return any(map(_is_embedding_name, text.lower().split()))


# Names of embeddings in wide use, letters only: found anywhere inside a word they decide.
_KNOWN_EMBEDDINGS = re.compile(
    "easyneg|easyneagt|asynegative|deepn[ea]+g[ae]tiv|verybadimage|badartist|badprompt|badpicture|badimage"
    "|baddream|badandmutated|badneganatomy|animebadhand|unrealisticdream|unspeakablehorror|fastneg|vileprompt"
    "|neg(?:ative)?hand|neg(?:ative)?embed|negativegen|negativebs|negativexl|cyber(?:realistic)?neg|epicneg"
    "|neg(?:facelift|colori[sz]e|lowres|mutation|feet|prompt|realism|anime|mix)|paranegative|realisticvisionneg"
    "|rmadaneg|juggernautneg|difconsistency|paintstyleneg|flonixneg|caravaggioneg|auroraneg|simpleneg|npsimple"
    "|boringe|ulzzang|kkw|rzneg|drdpnte|lanjiao|lisdusk|pureerosface|styleneb|aidxl|unaestheticxl|civitneg|fcneg"
    "|danger(?:donkey|goose|hawk|horse|moose|mouse|crow)|dreamartistbadhand"
    "|n(?:art|real)?fixer"
)
# How such files are called otherwise; in lower case, with hyphens for underscores.
_EMBEDDING_NAME = re.compile(
    r"""
    ^ embed(?:ding)?: . | \. (?: pt | bin | safetensors | ckpt ) $
  | ^ bad (?: hand | feet $ | foots | finger | qualit | anatom | eyes $ | body $ | pantie | bad | -bad )
  | ^ bad-hands?-v?\d | ^ bhands                                     # badhands, bad-hands-5; not bad-hands
  | (?: ^ | - ) neg $ | \dneg $ | -negs? -? v? [\d.]+ $ | ^ n(?:e)?g-[a-z\d] | ^ ng(?:tv|ng) | ^ neg\d
  | -negative (?: $ | - ) | ^ negative-[a-z\d]+ (?: -\d | $ )
  | ^ (?: aid | an ) v? \d | zoov?n?v?\d | ^ sd15-
  | [a-z] -? v\d+ (?: \.\d+ )? (?: $ | - ) | horrors?\dv             # versions: deformityv6, x_v1.3
  | [a-z\d] - \d{3,6} $ | - \d+ [tv] $                               # steps, vectors: bad-image-v2-39000, x-75t
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=65536)
def _is_embedding_name(word: str) -> bool:
    name = word.replace("_", "-").strip("<>()'\"-+")
    return bool(_EMBEDDING_NAME.search(name) or _KNOWN_EMBEDDINGS.search(re.sub(r"[\W\d_]+", "", word)))


# Tags that Pony Diffusion learned letter by letter.
_TAG = re.compile(r"score_\d\w*|(?:source|rating)_\w+", re.IGNORECASE)
_BY = re.compile(
    r"\b(?:(?:art|painting|sketch|illustration|image|drawing)s?\s+)?by(?:\s+(?:an?|the))?\s*$", re.IGNORECASE
)


@lru_cache(maxsize=65536)
def _term_texts(fragment: str) -> tuple[str, ...]:
    """A fragment's terms: one, unless it names embeddings among its words."""
    if _TAG.fullmatch(fragment):
        return (fragment.lower(),)
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
