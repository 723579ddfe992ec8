"""What a person should be told about their history, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.messages import in_language


class Trouble(StrEnum):
    """Why something went another way than usual."""

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    FAILED = "failed"
    NEWER = "newer"
    DAMAGED = "damaged"
    DAMAGED_IN_USE = "damaged_in_use"
    RESCUED = "rescued"
    SAVED_AGAIN = "saved_again"
    NOT_COMPACTED = "not_compacted"
    NOT_ENCRYPTED = "not_encrypted"
    DAMAGED_KEPT = "damaged_kept"


_ENGLISH = {
    Trouble.DISK_FULL: "The disk is full: the conversation goes on in memory and is not saved. "
    "Free some space, or export it before you close the program.",
    Trouble.READ_ONLY: "The history at {path} cannot be written: the conversation goes on in "
    "memory and is not saved. Export it before you close the program.",
    Trouble.LOCKED: "Another program holds the history at {path}: the conversation goes on in "
    "memory and is not saved. Export it before you close the program.",
    Trouble.FAILED: "The history at {path} cannot be used ({detail}): the conversation goes on in "
    "memory and is not saved. Export it before you close the program.",
    Trouble.NEWER: "The history at {path} was written by a newer SparseDoctor: the conversation "
    "goes on in memory and is not saved. Update SparseDoctor to read it.",
    Trouble.DAMAGED: "The history file was damaged. It is kept as {aside}; "
    "a new history was begun.",
    Trouble.DAMAGED_IN_USE: "The history at {path} is damaged and open in another window: the "
    "conversation goes on in memory and is not saved. Close the other window and start again.",
    Trouble.RESCUED: "{count} messages of the damaged history could be read and were taken over.",
    Trouble.SAVED_AGAIN: "The history can be written again: the conversation is saved.",
    Trouble.NOT_COMPACTED: "Deleted. The file could not be rewritten just now ({detail}); "
    "that will be done at the next start.",
    Trouble.NOT_ENCRYPTED: "The history at {path} is not encrypted: no passphrase was needed.",
    Trouble.DAMAGED_KEPT: "Deleted here. A damaged older history is still kept as {aside} and may "
    "hold these words: delete that file too when you no longer need it.",
}

_CHINESE = {
    Trouble.DISK_FULL: "磁盘已满：对话在内存中继续，不会保存。请腾出空间，或在关闭程序前导出。",
    Trouble.READ_ONLY: "无法写入历史记录 {path}：对话在内存中继续，不会保存。请在关闭程序前导出。",
    Trouble.LOCKED: "另一个程序正占用历史记录 {path}：对话在内存中继续，不会保存。"
    "请在关闭程序前导出。",
    Trouble.FAILED: "无法使用历史记录 {path}（{detail}）：对话在内存中继续，不会保存。"
    "请在关闭程序前导出。",
    Trouble.NEWER: "历史记录 {path} 由更新版本的 SparseDoctor 写成：对话在内存中继续，不会保存。"
    "请更新 SparseDoctor 后再读取。",
    Trouble.DAMAGED: "历史记录文件已损坏，原文件保留为 {aside}，已新建历史记录。",
    Trouble.DAMAGED_IN_USE: "历史记录 {path} 已损坏，且在另一个窗口中打开：对话在内存中继续，"
    "不会保存。请关闭另一个窗口后重新启动。",
    Trouble.RESCUED: "损坏的历史记录中有 {count} 条消息可以读出，已转入新的历史记录。",
    Trouble.SAVED_AGAIN: "历史记录可以重新写入：对话已保存。",
    Trouble.NOT_COMPACTED: "已删除。暂时无法重写文件（{detail}），下次启动时会完成。",
    Trouble.NOT_ENCRYPTED: "历史记录 {path} 未加密，不需要密码。",
    Trouble.DAMAGED_KEPT: "已在此删除。一份损坏的旧历史记录仍保留为 {aside}，其中可能含有这些内容："
    "不再需要时请一并删除该文件。",
}


@dataclass(frozen=True, slots=True)
class HistoryNotice:
    """One thing to tell. `str(notice)` is English; `text("zh")` Chinese."""

    trouble: Trouble
    values: dict[str, str] = field(default_factory=dict)

    def text(self, language: str = "en") -> str:
        template = (_CHINESE if language == "zh" else _ENGLISH)[self.trouble]
        spoken: Language = "zh" if language == "zh" else "en"
        return template.format_map({n: in_language(v, spoken) for n, v in self.values.items()})

    def __str__(self) -> str:
        return self.text()
