"""Text arrives whole, half characters and possible stops held back; prompts are written right."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from engine.small_gguf import SmallModel, tokenizer_of
from hypothesis import given
from hypothesis import strategies as st

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineError, Finished, Message, Sampling, TextDelta
from sparsedoctor.core.engine.templates import TEMPLATES, Text, find_template, guess_template
from sparsedoctor.core.engine.textstream import TextStream

TALK = [
    Message("system", "Be kind."),
    Message("user", "Hello"),
    Message("assistant", "Hi."),
    Message("user", "I cough."),
]


def feed(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream = TextStream(stops)
    shown = [stream.feed(piece) for piece in pieces]
    return [*shown, stream.finish()], stream.stopped


@given(st.text(), st.lists(st.integers(0, 200)))
def test_text_is_the_same_however_its_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "replace")
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in pairwise(places)]
    shown, _ = feed(pieces, ("<|im_end|>", "\nQuestion:"))
    expected = data.decode()
    for stop in ("<|im_end|>", "\nQuestion:"):
        expected = expected.split(stop)[0]
    assert "".join(shown) == expected


@pytest.mark.parametrize("character", ["疼", "🤒", "ع", "é"])
def test_no_part_of_a_character_is_shown(character: str) -> None:
    pieces = [bytes([byte]) for byte in character.encode()]
    shown, _ = feed(pieces)
    assert shown == [""] * (len(pieces) - 1) + [character, ""]
    shown, _ = feed(pieces[:-1])
    assert "".join(shown) == ""


def test_a_stop_is_found_across_pieces_and_never_shown() -> None:
    shown, stopped = feed([b"Rest.<|im", b"_e", b"nd|>", b" more"], ("<|im_end|>",))
    assert ("".join(shown), stopped) == ("Rest.", True)
    assert shown[0] == "Rest."
    shown, stopped = feed([b"a <|im", b" not a stop"], ("<|im_end|>",))
    assert ("".join(shown), stopped) == ("a <|im not a stop", False)
    shown, _ = feed([b"ends in <|im"], ("<|im_end|>",))
    assert "".join(shown) == "ends in <|im"


EXPECTED = {
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    "<|im_start|>assistant\nHi.<|im_end|>\n<|im_start|>user\nI cough.<|im_end|>\n"
    "<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHi.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nI cough.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "llama2": "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHello [/INST] Hi. </s><s>"
    "[INST] I cough. [/INST]",
    "mistral": "[INST] Be kind.\n\nHello [/INST] Hi.</s>[INST] I cough. [/INST]",
    "mistral-control": "[INST]Be kind.\n\nHello[/INST]Hi.</s>[INST]I cough.[/INST]",
    "plain": "Instructions: Be kind.\n\nQuestion: Hello\n\nAnswer: Hi.\n\nQuestion: I cough."
    "\n\nAnswer:",
}
EXPECTED["qwen3"] = EXPECTED["chatml"] + "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_is_written_as_the_family_writes_it(name: str) -> None:
    segments = find_template(name).write(TALK)
    assert "".join(segment.text for segment in segments) == EXPECTED[name]
    typed = "".join(segment.text for segment in segments if isinstance(segment, Text))
    assert all(message.content in typed for message in TALK)


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_answer_that_is_begun_is_gone_on_with(name: str) -> None:
    begun = [*TALK[:-1], TALK[-1], Message("assistant", "It may be")]
    text = "".join(segment.text for segment in find_template(name).write(begun))
    assert text.endswith("It may be") or text.endswith("It may be ")


def test_chatml_is_what_the_template_of_the_base_gives(smollm2_gguf: Path) -> None:
    jinja2 = pytest.importorskip("jinja2")
    template = jinja2.Template(tokenizer_of(smollm2_gguf)["tokenizer.chat_template"])
    messages = [{"role": m.role, "content": m.content} for m in TALK]
    rendered = template.render(messages=messages, add_generation_prompt=True)
    assert rendered == EXPECTED["chatml"]


def test_an_unknown_template_is_refused_with_those_there_are() -> None:
    with pytest.raises(EngineError, match="chatml"):
        find_template("vicuna")


def test_a_family_is_recognised_by_its_tokens() -> None:
    def guess(text: str, *controls: str) -> str | None:
        template = guess_template(text, controls)
        return template.name if template else None

    assert guess("", "<|im_start|>", "<|im_end|>") == "chatml"
    assert guess("", "<|im_start|>", "<|im_end|>", "<think>", "</think>") == "qwen3"
    assert guess("", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>") == "llama3"
    assert guess("... <<SYS>> ... [INST]", "<s>", "</s>") == "llama2"
    assert guess("... [INST] ...", "<s>", "</s>") == "mistral"
    assert guess("... [INST] ...", "<s>", "</s>", "[INST]", "[/INST]") == "mistral-control"
    assert guess("{{ messages }}", "<s>", "</s>") is None


@pytest.mark.parametrize(
    "text", ["我胸口疼，喘不过气。", "👩🏽‍⚕️ 🤒 🇩🇪", "أشعر بألم في صدري", "e\u0301\u202e"]
)
def test_any_script_can_be_asked_and_scored(engine: ChildEngine, text: str) -> None:
    """The last byte counts: the tokens of the text are those of its bytes and give it back."""
    events = list(engine.generate([Message("user", text)], Sampling(max_tokens=12, seed=1)))
    finished = events[-1]
    assert isinstance(finished, Finished)
    for event in events:
        if isinstance(event, TextDelta):
            event.text.encode("utf-8")
    assert len(engine.score([Message("user", text)], [text])[0]) == len(engine.tokenize(text))


def test_a_random_model_never_shows_half_a_character(moe: SmallModel, engine: ChildEngine) -> None:
    """Its tokens are bytes at random: what no character can be becomes U+FFFD, whole ones come."""
    sampling = Sampling(max_tokens=300, temperature=2.0, min_p=0.0, top_p=1.0, seed=1)
    events = list(engine.generate([Message("user", "x")], sampling))
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(texts).encode("utf-8").decode() == "".join(texts)
    assert all(texts)
