"""Models in transformers: a base, a base with our adapter, a base with a PEFT LoRA.

Fast because a prompt is read once for all its candidates, the few-shot block once for all
questions of a subject, and questions of like length go in one batch.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.backends.backend import ModelRecord, Prompting
from sparsedoctor.train.evaluate.backends.transformers_rows import (
    Group,
    Limits,
    Prompted,
    Row,
    batches,
    groups_of,
)
from sparsedoctor.train.evaluate.backends.transformers_tokens import PromptWriter
from sparsedoctor.train.evaluate.scoring import Request

_LOGITS = 1 << 26  # numbers kept at once: 256 MiB in float32
_GENERATE_TOGETHER = 16  # prompts


class _Read(NamedTuple):
    """Keys and values of texts that were read together, padded on the left."""

    cache: DynamicCache
    mask: torch.Tensor  # of what is no padding; [texts, longest]


class TransformersBackend(Prompting):
    """`model` is in evaluation mode on its device; its tokenizer belongs to it."""

    def __init__(
        self, model: Any, tokenizer: Any, record: ModelRecord, batch_tokens: int | None = None
    ) -> None:
        self.record = record
        self._model = model.eval()
        self._device = next(model.parameters()).device
        self._tokenizer = tokenizer
        self._writer = PromptWriter(tokenizer, record.template)
        tokens = batch_tokens or (2_048 if self._device.type == "cpu" else 65_536)
        vocabulary = int(model.config.vocab_size)
        self._limits = Limits(tokens, 8 * tokens, max(1, _LOGITS // vocabulary))

    @torch.inference_mode()
    def score(self, requests: Sequence[Request]) -> Iterator[tuple[int, list[list[float]]]]:
        prompted = [self._prompted(i, request) for i, request in enumerate(requests)]
        candidates = {one.index: one.candidates for one in prompted}
        for group in groups_of(prompted, self._limits):
            yield from self._score_group(group, candidates)

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[Request], max_tokens: int, seed: int
    ) -> Iterator[tuple[int, str]]:
        prompts = [
            (i, self._checked(request, self._writer.prompt(request.messages), max_tokens))
            for i, request in enumerate(requests)
        ]
        prompts.sort(key=lambda one: -len(one[1]))
        torch.manual_seed(seed)
        for at in range(0, len(prompts), _GENERATE_TOGETHER):
            together = prompts[at : at + _GENERATE_TOGETHER]
            ids, mask = self._padded([prompt for _, prompt in together])
            written = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                use_cache=True,
                eos_token_id=self._writer.stops or None,
                pad_token_id=self._padding,
            )
            for (index, _), row in zip(together, written[:, ids.shape[1] :], strict=True):
                text = self._tokenizer.decode(row, skip_special_tokens=True)
                yield index, text.strip()

    def close(self) -> None:
        self._model = None

    def _prompted(self, index: int, request: Request) -> Prompted:
        ids = self._writer.prompt(request.messages)
        candidates = tuple(tuple(self._writer.plain(text)) for text in request.continuations)
        self._checked(request, ids, max(map(len, candidates)))
        key: Hashable = (request.messages[: request.prefix], request.question.subject)
        if not (request.prefix or request.unasked) and any(len(one) > 1 for one in candidates):
            key = None
        return Prompted(index, key, tuple(ids), candidates)

    def _checked(self, request: Request, ids: list[int], more: int) -> list[int]:
        room = getattr(self._model.config, "max_position_embeddings", None)
        if room and len(ids) + more > room:
            raise SparseDoctorError(
                f"the prompt of {request.question.id} has {len(ids):,} tokens and {more:,} follow; "
                f"the model reads {room:,}: use fewer --shots"
            )
        return ids

    def _score_group(
        self, group: Group, candidates: Mapping[int, Sequence[tuple[int, ...]]]
    ) -> Iterator[tuple[int, list[list[float]]]]:
        missing = Counter(row.index for row in group.rows)
        found: dict[int, dict[tuple[int, ...], list[float]]] = {index: {} for index in missing}
        read = self._read(group.texts)
        for batch in batches(group.rows, group.longest, self._limits):
            kept = self._logits(batch, read)
            for row, logits in zip(batch, kept, strict=True):
                asked = candidates[row.index]
                found[row.index] |= _read_candidates(row, logits, asked)
                missing[row.index] -= 1
                if not missing[row.index]:
                    answers = found.pop(row.index)
                    yield row.index, [answers.get(one, []) for one in asked]

    def _read(self, texts: Sequence[Sequence[int]]) -> _Read | None:
        if not texts:
            return None
        cache = DynamicCache(config=self._model.config)
        ids, mask = self._padded(texts)
        self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=_positions(mask),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return _Read(cache, mask)

    def _logits(self, batch: Sequence[Row], read: _Read | None) -> torch.Tensor:
        """Log-probabilities at each row's last positions. `[rows, longest tail + 1, vocabulary]`"""
        ids, mask = self._padded([[*row.rest, *row.tail] for row in batch])
        positions = _positions(mask)
        past = None
        if read is not None:
            texts = torch.tensor([row.text for row in batch], device=self._device)
            before = read.mask[texts]
            past = copy.deepcopy(read.cache)
            past.batch_select_indices(texts)
            positions = positions + before.sum(-1, keepdim=True)
            mask = torch.cat([before, mask], dim=1)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past,
            use_cache=past is not None,
            logits_to_keep=max(len(row.tail) for row in batch) + 1,
        )
        logits: torch.Tensor = output.logits
        return logits.float().log_softmax(-1)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids padded on the left, and the mask of what is no padding. `[rows, longest]`"""
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self._padding, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.long)
            mask[i, width - len(row) :] = 1
        return ids.to(self._device), mask.to(self._device)

    @property
    def _padding(self) -> int:
        for identity in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id):
            if identity is not None:
                return int(identity)
        return 0


def _positions(mask: torch.Tensor) -> torch.Tensor:
    """Of each row's tokens, counted from its first that is no padding. `[rows, longest]`"""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def _read_candidates(
    row: Row, logits: torch.Tensor, candidates: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], list[float]]:
    """Token log-probabilities of the candidates that this row answers for.

    `logits` is `[kept positions, vocabulary]`, the last of them after the row's last token.
    """
    first = len(logits) - len(row.tail) - 1
    answered = [
        candidate
        for candidate in candidates
        if candidate and row.tail[: len(candidate) - 1] == candidate[:-1]
    ]
    positions = [first + i for candidate in answered for i in range(len(candidate))]
    tokens = [token for candidate in answered for token in candidate]
    values = iter(logits[positions, tokens].tolist())  # one transfer from the device
    return {candidate: [next(values) for _ in candidate] for candidate in answered}
