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
    # Brackets, boxes, tags and templates around the letter.
    ("ｂ", ZH, False, "B", "B", "B"),
    ("Ⓑ", ZH, False, "B", "B", "B"),
    ("“B”", ZH, False, "B", "B", "B"),
    ("```\nB\n```", EN, False, "B", "B", "B"),
    ("<b>B</b>", EN, False, "B", "B", "B"),
    ("B</s>", EN, False, "", "B", "B"),
    ("\\[\\boxed{\\text{C}}\\]", EN, False, "C", "C", "C"),
    ("\\(\\boxed{\\mathrm{B}}\\)", EN, False, "B", "B", "B"),
    ("\\boxed{\\textbf{(B)}}", EN, False, "B", "B", "B"),
    ("\\boxed{B. Ibuprofen}", EN, False, "", "B", "B"),
    ("A is for pain, D for nothing: \\boxed{C}", EN, False, "", "A", "C"),
    ("首先看 \\boxed{A}，其实是 \\boxed{D}", ZH, False, "", "A", "D"),
    ("\\boxed{A, C}", EN, True, "AC", "AC", "AC"),
    ("【答案】B", ZH, False, "", "B", "B"),
    ("**Answer:** B", EN, False, "", "B", "B"),
    ("### Answer\nB", EN, False, "", "B", "B"),
    ('```json\n{"answer": "B", "reason": "A is wrong"}\n```', EN, False, "", "B", "B"),
    # Small letters: an option's, where a bracket or stop sets them off; else the article.
    ("I think it's (c)", EN, False, "", "C", "C"),
    ("a) Aspirin", EN, False, "", "A", "A"),
    ("(a) Aspirin", EN, False, "", "A", "A"),
    ("c. Vitamin K", EN, False, "", "C", "C"),
    ("e.g. pneumonia", ZH, False, "", "", ""),
    ("a patient would need rest", EN, False, "", "", ""),
    ("The answer is (b) Ibuprofen, (a) is wrong", EN, False, "", "B", "B"),
    ("The correct answer is a) Aspirin.", EN, False, "", "", "A"),
    ("The answer is a", EN, False, "", "", ""),  # may be cut off: "a drug that ..."
    ("答案是b", ZH, False, "", "", "B"),
    ("首选b超检查", NAMES, False, "", "", "C"),
    # More ways of saying it.
    ("Neither A nor B; it is C.", EN, False, "", "A", "C"),
    ("The answer isn't A. It's B.", EN, False, "", "A", "B"),
    ("I'd go with option D, not A.", EN, False, "", "D", "D"),
    ("A seems tempting, but I would choose B", EN, False, "", "A", "B"),
    ("不选A，选B", ZH, False, "", "A", "B"),
    ("A错误；B正确；C错误", ZH, False, "", "A", "B"),
    ("答案應該是B", ZH, False, "", "B", "B"),
    ("答案為C", ZH, False, "", "C", "C"),
    ("这道题的正确答案是选项 B：支气管肺炎。", ZH, False, "", "B", "B"),
    ("A common treatment is ibuprofen.", EN, False, "", "", "B"),
    ("Both A and C", EN, False, "", "A", "A"),
    ("A/B", EN, False, "AB", "AB", "AB"),
    # Letters of medical names.
    ("E. coli is the usual cause.", ZH, False, "", "", ""),
    ("C. difficile, so ibuprofen is wrong: B", EN, False, "", "B", "B"),
    ("D-二聚体升高，考虑肺癌", ZH, False, "", "", "D"),
    ("Check the D-dimer and the C-reactive protein first.", EN, False, "", "", ""),
    ("A B-cell disease; the answer is C", EN, False, "", "C", "C"),
    ("Vitamins A, D and E are stored in fat.", ZH, False, "", "", ""),
    ("维生素A、D中毒，选C", ZH, False, "", "C", "C"),
    ("The patient has Group A streptococcus.", EN, False, "", "", ""),
    ("乙型肝炎病毒B，不能确定", ZH, False, "", "", ""),
    # Refusals.
    ("As an AI, I can't diagnose. A doctor should see you.", EN, False, "", "", ""),
    ("作为一个AI语言模型，我无法回答这个问题。", ZH, False, "", "", ""),
    ("抱歉，我不能提供医疗建议，请咨询医生。", ZH, False, "", "", ""),
    # The options repeated on one line, and then answered.
    ("A. Aspirin B. Ibuprofen C. Vitamin K D. None of the above", EN, False, "", "A", ""),
    ("A、肺炎 B、支气管肺炎 C、肺结核 D、肺癌 E、胸膜炎 选C", ZH, False, "", "A", "C"),
    # Other names for thinking.
    ("<think>\n\n</think>\n\nB", ZH, False, "B", "B", "B"),
    ("<thinking>maybe A</thinking> B", EN, False, "B", "B", "B"),
    ("maybe A</think>The answer is B", EN, False, "", "B", "B"),
    ("<Reasoning>The answer is A", EN, False, "", "", ""),
    # Several right options, in more ways.
    ("选B和D", ZH, True, "", "BD", "BD"),
    ("Both A and C", EN, True, "", "AC", "AC"),
    ("Options A, B, and D are correct.", EN, True, "", "ABD", "ABD"),
    ("The answers are (A), (C), and (D).", EN, True, "", "ACD", "ACD"),
    ("The correct answers are A and C, not B.", EN, True, "", "AC", "AC"),
    ("选项A、选项C", ZH, True, "", "AC", "AC"),
    ("option A and option C", EN, True, "", "AC", "AC"),
    ("A对，B对，C不对，D对", ZH, True, "", "A", "ABD"),
    ("A正确，B错误，C正确", ZH, True, "", "A", "AC"),
    ("A is correct. B is incorrect. C is correct.", EN, True, "", "A", "AC"),
    ("a, c", EN, True, "AC", "AC", "AC"),
    ("acd", EN, True, "ACD", "ACD", "ACD"),
    ("bad", EN, True, "", "", ""),
    ("A\nC", ZH, True, "AC", "AC", "AC"),
    ("答案：Ａ　Ｂ　Ｄ", ZH, True, "", "ABD", "ABD"),
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
