"""The generator with the bundled model: options kept, conflicts avoided, any input answered."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import negopt
from negopt.generator import BATCH
from negopt.terms import is_embedding, split_terms, term_key

PROMPTS = [
    "portrait photo of an old fisherman, 85mm, overcast",
    "1girl, solo, silver hair, looking at viewer, masterpiece, best quality",
    "a watercolor painting of a lighthouse at dawn",
    "isometric 3d render of a tiny kitchen, octane",
    "pixel art sprite of a dragon",
    "<lora:epiNoise:0.8> cyberpunk street, (neon:1.3), rain, no people",
]


def keys(negative: negopt.NegativePrompt) -> list[str]:
    return [term_key(term.text) for term in negative.terms]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_gets_a_list_of_terms_with_probabilities(generator: negopt.Generator, prompt: str) -> None:
    answer = generator.generate(prompt)
    assert 3 <= len(answer.terms) <= 30
    assert all(0 < term.probability <= 1 for term in answer.terms)
    assert [term.text for term in split_terms(answer.text)] == [term.text for term in answer.terms]
    assert len(set(keys(answer))) == len(answer.terms)


def test_different_prompts_get_different_negatives(generator: negopt.Generator) -> None:
    answers = {answer.text for answer in generator.generate_batch(PROMPTS)}
    assert len(answers) >= len(PROMPTS) - 1


def test_kept_terms_stay_first_word_for_word_and_are_never_repeated(generator: negopt.Generator) -> None:
    own = "(Worst Quality:1.4), EasyNegative,  my ex"
    answer = generator.generate(PROMPTS[1], keep=own)
    assert answer.text.startswith(own + ", ")
    assert [term.text for term in answer.terms if term.origin == "keep"] == ["worst quality", "EasyNegative", "my ex"]
    assert answer.terms[0].weight == 1.4
    assert len(set(keys(answer))) == len(answer.terms)


def test_a_comment_in_the_artists_text_swallows_nothing(generator: negopt.Generator) -> None:
    answer = generator.generate(PROMPTS[0], keep="blurry # my usual")
    first, rest = answer.text.split("\n", 1)
    assert first == "blurry # my usual"
    assert rest


def test_avoided_terms_and_their_variants_are_never_written(generator: negopt.Generator) -> None:
    plain = generator.generate(PROMPTS[1])
    avoided = [term.text for term in plain.terms[:4]]
    answer = generator.generate(PROMPTS[1], avoid=", ".join(avoided))
    assert not {term_key(text) for text in avoided} & set(keys(answer))
    assert len(answer.terms) >= 3


def test_what_the_prompt_asks_for_is_not_negated_at_any_creativity(generator: negopt.Generator) -> None:
    prompt = "black and white sketch, monochrome line art of a crowd of people, text, logo, blurry background"
    wanted = {"monochrome", "grayscale", "blackandwhite", "sketch", "lineart", "text", "logo", "blurry", "crowd"}
    for seed in range(8):
        answer = generator.generate(prompt, creativity=1.5, seed=seed, max_terms=60, max_tokens=0)
        assert not wanted & set(keys(answer)), answer.text


def test_what_the_prompt_negates_is_asked_for(generator: negopt.Generator) -> None:
    answer = generator.generate("an empty street at night, no text, without people")
    asked = {term.text for term in answer.terms if term.origin == "prompt"}
    assert asked == {"text", "people"}
    assert {"text", "people"} <= {term.text for term in split_terms(answer.text)}


def test_what_the_prompt_negates_fits_into_the_tokens_and_may_be_avoided(generator: negopt.Generator) -> None:
    prompt = "castle --no text, watermark, cars, people, dogs, cats, birds"
    short = generator.generate(prompt, max_tokens=7)
    assert [term.text for term in short.terms] == ["text", "watermark", "cars"]
    for variant, denied in [("humans", "no people"), ("blurry", "no blur"), ("letters", "no letters")]:
        answer = generator.generate(f"street, {denied}", avoid=variant)
        assert denied.removeprefix("no ") not in [term.text for term in answer.terms]
        assert answer.terms


@pytest.mark.parametrize("most", [1, 2, 3])
def test_alternatives_of_few_terms_differ_too(generator: negopt.Generator, most: int) -> None:
    for prompt in (*PROMPTS[:-1], "headless horseman", "portrait photo, bokeh"):  # the last one says "no people"
        answer = generator.generate(prompt, n=8, max_terms=most)
        lists = [frozenset(keys(each)) for each in (answer, *answer.alternatives)]
        assert len(set(lists)) == 8


def test_a_long_text_of_the_artists_own_takes_no_longer_than_its_beginning(generator: negopt.Generator) -> None:
    own = " ".join(f"word{number}" for number in range(2000))
    task = generator._task(PROMPTS[0], negopt.Options(keep=own), ())
    assert len(task.prefix) < 200


def test_a_device_that_is_not_there_is_said_in_one_line() -> None:
    with pytest.raises(negopt.OptionError, match="device nowhere: "):
        negopt.load(device="nowhere")


@pytest.mark.parametrize("most", [0, 1, 5, 12])
def test_max_terms_is_the_most_and_short_lists_are_well_used(generator: negopt.Generator, most: int) -> None:
    answers = generator.generate_batch(PROMPTS[:3], max_terms=most)
    assert all(len(answer.terms) <= most for answer in answers)
    assert all(len(answer.terms) >= most // 2 for answer in answers)


def test_the_text_fits_into_the_tokens_of_the_hosts_own_counter() -> None:
    from negopt.locate import locate

    def count(text: str) -> int:
        return 3 * len(text.replace(",", " ").split()) + text.count(",")

    generator = negopt.Generator.open(locate(), count_tokens=count)
    for answer in generator.generate_batch(PROMPTS, max_tokens=40, keep="blurry, lowres"):
        assert len(answer.terms) >= 3
        assert count(answer.text) <= 40
    long = "very long text of my own, " * 20
    assert generator.generate(PROMPTS[0], max_tokens=10, keep=long).text == long.strip(" ,")


def test_creativity_zero_is_the_same_always_and_a_seed_is_reproducible(generator: negopt.Generator) -> None:
    assert generator.generate(PROMPTS[0], seed=1) == generator.generate(PROMPTS[0], seed=2)
    drawn = [generator.generate(PROMPTS[0], creativity=1.0, seed=seed).text for seed in range(4)]
    assert drawn == [generator.generate(PROMPTS[0], creativity=1.0, seed=seed).text for seed in range(4)]
    assert len(set(drawn)) == 4


def test_an_answer_does_not_depend_on_its_batch(generator: negopt.Generator) -> None:
    many = [PROMPTS[i % len(PROMPTS)] + ", tree" * (i % 7) for i in range(BATCH + 5)]
    choices: tuple[dict[str, Any], ...] = ({}, {"creativity": 1.0, "seed": 7})
    for options in choices:
        batch = [answer.text for answer in generator.generate_batch(many, **options)]
        assert batch == [generator.generate(prompt, **options).text for prompt in many]


@pytest.mark.parametrize("creativity", [0.0, 0.8])
def test_alternatives_differ_and_the_first_stands_alone(generator: negopt.Generator, creativity: float) -> None:
    answer = generator.generate(PROMPTS[0], n=4, creativity=creativity)
    texts = [answer.text, *(other.text for other in answer.alternatives)]
    assert len(set(texts)) == 4
    assert generator.generate(PROMPTS[0], creativity=creativity).text == answer.text


def test_weights_are_written_only_when_wanted(generator: negopt.Generator) -> None:
    plain, weighted = (generator.generate(PROMPTS[1], weights=wanted) for wanted in (False, True))
    assert ":" not in plain.text
    assert any(term.weight > 1 for term in weighted.terms)
    assert [term.text for term in split_terms(weighted.text)] == [term.text for term in weighted.terms]


def test_embeddings_are_named_only_when_allowed(generator: negopt.Generator) -> None:
    from negopt.terms import is_embedding

    prompts = [f"1girl, solo, {colour} hair, masterpiece" for colour in ("red", "blue", "green", "white")]
    never = generator.generate_batch(prompts, creativity=1.0)
    assert not [term.text for answer in never for term in answer.terms if is_embedding(term.text)]
    allowed = [generator.generate(p, creativity=1.0, seed=s, embeddings=True) for p in prompts for s in range(6)]
    assert [term.text for answer in allowed for term in answer.terms if is_embedding(term.text)]


NASTY = {
    "empty": "",
    "spaces": " \n\t ",
    "only a lora": "<lora:a:1><hypernet:b:0.5>",
    "ten thousand words": "word " * 10_000,
    "emoji": "🧜‍♀️🌊 mermaid 🐚",
    "control characters": "a\x00b\x07\x1b[31mred\u202e",
    "right to left": "צילום דיוקן של דייג זקן, صورة",
    "lone surrogate": "cat \ud83d dog",
    "unbalanced": "((((a, [b:c, {d|e <lora: (",
    "brackets only": "(" * 5000 + ")" * 100,
    "nested": "[a:(b:1.2):0.5] {x|{y|z}} __wild__ AND c :1.1 BREAK d\\(e\\)",
    "comment": "# only a comment",
}


@pytest.mark.parametrize("name", NASTY)
def test_any_text_gets_an_answer_and_leaks_no_syntax(generator: negopt.Generator, name: str) -> None:
    answer = generator.generate(NASTY[name])
    assert answer.terms
    assert not set("<>[]{}|#\\") & set(answer.text)
    answer.text.encode("utf-8")


def test_only_terms_that_people_write_are_written(generator: negopt.Generator) -> None:
    for seed in range(6):
        for answer in generator.generate_batch(PROMPTS, creativity=2.0, seed=seed):
            written = {term.text for term in answer.terms if term.origin == "model"}
            assert written <= generator.settings.terms


@pytest.mark.parametrize("kept", [[], ["ugly", "tiling"]])
def test_a_list_is_as_long_as_its_plan(generator: negopt.Generator, kept: list[str]) -> None:
    for wanted in (4, 8, 13):
        least = generator.tokenizer.least(len(kept) + wanted)
        for answer in generator.generate_batch(PROMPTS, max_terms=wanted, keep=kept):
            assert least <= len(answer.terms) <= len(kept) + wanted


def test_something_that_is_no_text_is_refused(generator: negopt.Generator) -> None:
    with pytest.raises(negopt.OptionError, match="text"):
        generator.generate(None)  # type: ignore[arg-type]


def test_two_threads_on_one_generator_answer_as_one(generator: negopt.Generator) -> None:
    expected = [answer.text for answer in generator.generate_batch(PROMPTS * 3)]
    results: dict[int, list[str]] = {}

    def work(number: int) -> None:
        results[number] = [generator.generate(prompt).text for prompt in PROMPTS * 3]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: expected, 1: expected}


def test_the_stream_is_lazy(generator: negopt.Generator) -> None:
    def endless() -> object:
        while True:
            yield PROMPTS[0]

    stream = generator.stream(endless())  # type: ignore[arg-type]
    assert next(stream).text == next(stream).text


@pytest.mark.parametrize("prompt", ["a knight", "portrait photo of an old fisherman", "watercolor landscape at dawn"])
def test_alternatives_are_different_lists_not_one_list_in_another_order(
    generator: negopt.Generator, prompt: str
) -> None:
    answer = generator.generate(prompt, n=4)
    lists = [{term.text for term in one.terms} for one in (answer, *answer.alternatives)]
    for number, one in enumerate(lists):
        assert all(len(one & other) <= 0.75 * len(one) for other in lists[:number])


def test_beside_a_host_only_embeddings_that_it_has_are_written_as_it_calls_them(generator: negopt.Generator) -> None:
    host = generator.beside(
        embedding_name=lambda name: "embedding:EasyNegative" if name.lower() == "easynegative" else None
    )
    assert host.network is generator.network
    prompt = "1girl, solo, masterpiece"
    options: dict[str, Any] = {"creativity": 0.7, "n": 16, "max_tokens": 0, "keep": "badhandv4"}

    def embeddings(writer: negopt.Generator, **more: Any) -> set[str]:
        first = writer.generate(prompt, **options, **more)
        terms = (term for answer in (first, *first.alternatives) for term in answer.terms)
        return {term.text for term in terms if term.origin == "model" and is_embedding(term.text)}

    assert len(embeddings(generator, embeddings=True)) > 3
    assert embeddings(host, embeddings=True) == {"embedding:EasyNegative"}
    assert embeddings(host) == embeddings(generator) == set()


def test_beside_a_host_its_tokenizer_counts(generator: negopt.Generator) -> None:
    assert len(generator.beside(count_tokens=lambda text: 30 * bool(text)).generate("a knight").terms) == 2
    assert len(generator.generate("a knight").terms) > 10
