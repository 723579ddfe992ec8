"""Golden tests of the answer reader: every way in which models were seen to answer."""

from __future__ import annotations

import pytest

from sparsedoctor.train.evaluate.answers import LEVELS, read_answer

ZH = {"A": "肺炎", "B": "支气管肺炎", "C": "肺结核", "D": "肺癌", "E": "胸膜炎"}
EN = {"A": "Aspirin", "B": "Ibuprofen", "C": "Vitamin K", "D": "None of the above"}

NAMES = {"A": "CT", "B": "维生素C", "C": "B超", "D": "C反应蛋白", "E": "X线"}

# text, options, multiple, then what each level reads: exact, first-letter, lenient
CASES = [
    # Letters alone, with every kind of dressing.
    ("B", ZH, False, "B", "B", "B"),
    (" B。\n", ZH, False, "B", "B", "B"),
    ("B.", ZH, False, "B", "B", "B"),
    ("(B)", ZH, False, "B", "B", "B"),
    ("（Ｂ）", ZH, False, "B", "B", "B"),
    ("【B】", ZH, False, "B", "B", "B"),
    ("**B**", ZH, False, "B", "B", "B"),
    ("$\\boxed{B}$", EN, False, "B", "B", "B"),
    ("<answer>B</answer>", EN, False, "B", "B", "B"),
    ("b", EN, False, "B", "B", "B"),
    ("(b)", EN, False, "B", "B", "B"),
    # A letter with its text.
    ("B. 支气管肺炎", ZH, False, "", "B", "B"),
    ("B 支气管肺炎", ZH, False, "", "B", "B"),
    ("B) Ibuprofen", EN, False, "", "B", "B"),
    ("B. Ibuprofen\n\nIbuprofen is an NSAID.", EN, False, "", "B", "B"),
    # Statements.
    ("答案是B。", ZH, False, "", "B", "B"),
    ("答案：B", ZH, False, "", "B", "B"),
    ("正确答案为：C", ZH, False, "", "C", "C"),
    ("正确选项应该是（D）", ZH, False, "", "D", "D"),
    ("本题选E。", ZH, False, "", "E", "E"),
    ("故选B", ZH, False, "", "B", "B"),
    ("我认为应选C项", ZH, False, "", "C", "C"),
    ("选项B正确。", ZH, False, "", "B", "B"),
    ("B选项是正确的", ZH, False, "", "B", "B"),
    ("The answer is B.", EN, False, "", "B", "B"),
    ("The correct answer is: (C) Vitamin K", EN, False, "", "C", "C"),
    ("Answer: D", EN, False, "", "D", "D"),
    ('{"answer": "B"}', EN, False, "", "B", "B"),
    ("The correct option is **C**.", EN, False, "", "C", "C"),
    ("the answer would be option B", EN, False, "", "B", "B"),
    ("the answer is b.", EN, False, "", "", "B"),
    ("The answer is a difficult one.", EN, False, "", "", ""),
    ("A is correct.", EN, False, "", "A", "A"),
    ("It is A.", EN, False, "", "A", "A"),
    ("Ibuprofen (B)", EN, False, "", "B", "B"),
    ("I would choose B", EN, False, "", "B", "B"),
    ("答案是：\n\nB. 支气管肺炎", ZH, False, "", "B", "B"),
    ("B。解析：A错误，C错误", ZH, False, "", "B", "B"),
    # The first letter is not the answer.
    ("A和C都不典型，因此答案是D。", ZH, False, "", "A", "D"),
    ("排除A、B，故选C。", ZH, False, "", "A", "C"),
    ("A is incorrect because it thins the blood. The answer is C.", EN, False, "", "A", "C"),
    ("Option A: wrong. Option B: wrong. So the correct answer is C.", EN, False, "", "A", "C"),
    ("答案不是A，答案是B", ZH, False, "", "A", "B"),
    ("我先以为答案是A。再想一遍，答案是D。", ZH, False, "", "A", "D"),
    # The article "A", words with capitals, vitamins: no letters of options.
    ("A patient with this bleeding needs the answer C", EN, False, "", "C", "C"),
    ("A 45-year-old man should take ibuprofen.", EN, False, "", "", "B"),
    ("Because of DIC.", EN, False, "", "", ""),
    ("Vitamin B does not help here; C does.", EN, False, "", "C", "C"),
    # Letters inside medical names, and inside the options' own texts.
    ("B超", NAMES, False, "", "", "C"),
    ("首选B超检查", NAMES, False, "", "", "C"),
    ("应查C反应蛋白", NAMES, False, "", "", "D"),
    ("选A，因为B超不够清楚", NAMES, False, "", "A", "A"),
    ("C. B超", NAMES, False, "", "C", "C"),
    ("B型超声不合适，答案是A", NAMES, False, "", "A", "A"),
    ("维生素C缺乏不常见，选E", NAMES, False, "", "E", "E"),
    ("Vitamin K", EN, False, "", "", "C"),
    # Text without a letter.
    ("支气管肺炎", ZH, False, "", "", "B"),
    ("最可能的诊断是肺结核。", ZH, False, "", "", "C"),
    ("vitamin k", EN, False, "", "", "C"),
    ("可能是肺结核，也可能是肺癌。", ZH, False, "", "", ""),
    # Nothing that can be read.
    ("", ZH, False, "", "", ""),
    ("以上都不对。", ZH, False, "", "", ""),
    ("I'm sorry, I cannot give medical advice.", EN, False, "", "", ""),
    ("F", ZH, False, "", "", ""),
    ("请补充病史。", ZH, False, "", "", ""),
    # The options repeated: their first letter is no choice.
    ("A. 肺炎\nB. 支气管肺炎\nC. 肺结核\nD. 肺癌\nE. 胸膜炎", ZH, False, "", "A", ""),
    ("A. 肺炎\nB. 支气管肺炎\nC. 肺结核\nD. 肺癌\nE. 胸膜炎\n答案：C", ZH, False, "", "A", "C"),
    # Thinking aloud.
    ("<think>A? 不，A不对</think>B", ZH, False, "B", "B", "B"),
    ("<think>The answer is A, or", EN, False, "", "", ""),
    # Several letters for a question with one right option.
    ("AB", ZH, False, "AB", "AB", "AB"),
    ("A或B，都有可能", ZH, False, "", "A", "A"),
    # Questions with several right options.
    ("ABD", ZH, True, "ABD", "ABD", "ABD"),
    ("DBA", ZH, True, "ABD", "ABD", "ABD"),
    ("A、B、D", ZH, True, "ABD", "ABD", "ABD"),
    ("A, B and D", EN, True, "ABD", "ABD", "ABD"),
    ("A，B，D。", ZH, True, "ABD", "ABD", "ABD"),
    ("(A)(B)(D)", ZH, True, "ABD", "ABD", "ABD"),
    ("The correct answers are A and C", EN, True, "", "AC", "AC"),
    ("选ABD。解析：C错误，E错误", ZH, True, "", "ABD", "ABD"),
    ("A. 肺炎\nD. 肺癌", ZH, True, "", "A", "AD"),
    ("以上都是", ZH, True, "", "", ""),
    ("答案是ABD。", ZH, True, "", "ABD", "ABD"),
    ("答案：A、C、E", ZH, True, "", "ACE", "ACE"),
    ("The correct answers are A, B, and C.", EN, True, "", "ABC", "ABC"),
    ("C", ZH, True, "C", "C", "C"),
    ("肺结核和肺癌", ZH, True, "", "", "CD"),
    ("B不对，答案为A和C", ZH, True, "", "B", "AC"),
]


@pytest.mark.parametrize(("text", "options", "multiple", "exact", "first", "lenient"), CASES)
def test_each_level_reads_what_it_should(
    text: str, options: dict[str, str], multiple: bool, exact: str, first: str, lenient: str
) -> None:
    read = [read_answer(text, options, multiple, level) for level in LEVELS]
    assert read == [exact, first, lenient]


def test_only_letters_of_the_question_are_read() -> None:
    assert read_answer("E", EN, False, "lenient") == ""


def test_options_without_the_letter_a_are_read_too() -> None:
    """As after the dropping of short options."""
    options = {"B": "肺结核", "C": "肺癌"}
    assert [read_answer("A", options, False, level) for level in LEVELS] == ["", "", ""]
    assert read_answer("答案是C", options, False, "lenient") == "C"
