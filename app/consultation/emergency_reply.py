"""What is said in an emergency or crisis instead of a model's answer: fixed, short, checked.

A small model that goes on chatting under "call an ambulance" takes attention from what matters
and can contradict it. So its answer is left out of such a turn; who asks on gets it.
"""

from __future__ import annotations

from dataclasses import replace

from sparsedoctor.app.consultation.assessment import Assessment, Urgency

_TEXTS = {
    "en": {
        "now": "What to do now:",
        "tell": "Tell the emergency service: where you are, what happened and since when, age, "
        "illnesses and medicines. Stay on the line until they hang up.",
        "wait": "While waiting: do not stay alone, nothing to eat or drink except what is named "
        "above, have medicines and papers at hand, and call again if it gets worse.",
        "talk": "You can talk to somebody right now: {lines}.",
        "crisis": "Are you, or is somebody with you, in immediate danger? Then call {call} first. "
        "I am a program and cannot come, but people can. You can go on writing here.",
        "more": "Ask again if you want to know more about it.",
    },
    "zh": {
        "now": "现在该做什么：",
        "tell": "告诉急救人员：您在哪里、发生了什么、从什么时候开始、年龄、疾病和用药。"
        "对方挂断前不要挂电话。",
        "wait": "等待时：不要独处，除上面写明的以外不要吃喝，备好药品和证件，加重就再次拨打。",
        "talk": "现在就可以找人谈谈：{lines}。",
        "crisis": "您或身边的人现在有危险吗？请先拨打 {call}。"
        "我只是程序，无法到您身边，但有人可以。您可以继续在这里写。",
        "more": "如果想了解更多，可以继续提问。",
    },
}  # fmt: skip


def replaces_model(assessment: Assessment) -> bool:
    """Whether the fixed text stands in the place of the model's answer."""
    return assessment.crisis or assessment.urgency is Urgency.EMERGENCY


def emergency_reply(assessment: Assessment) -> str:
    """The fixed text for this assessment, in its language: each sentence of advice once."""
    texts = _TEXTS["zh" if assessment.language == "zh" else "en"]
    urgent = [f for f in assessment.findings if f.crisis or f.urgency is Urgency.EMERGENCY]
    shown = replace(assessment, findings=tuple(urgent)).most_urgent().findings
    parts = ["\n".join([texts["now"], *(f"- {finding.advice}" for finding in shown)])]
    if assessment.crisis:
        call = " / ".join(assessment.numbers.emergency + assessment.numbers.police)
        parts.append(texts["crisis"].replace("{call}", call))
        if assessment.numbers.crisis:
            parts.append(texts["talk"].replace("{lines}", " / ".join(assessment.numbers.crisis)))
    if any(not finding.crisis for finding in urgent):
        parts += [texts["tell"], texts["wait"]]
    parts.append(texts["more"])
    return "\n\n".join(parts)  # paragraphs: the text is shown as Markdown
