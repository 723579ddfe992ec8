"""A server that answers in the place of a model file, as the interfaces see it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sparsedoctor.core.engine.protocol import ModelInfo
from sparsedoctor.core.engine.server_address import ServerAddress


@dataclass(frozen=True, slots=True)
class ModelServer:
    """An OpenAI-compatible server. What a conversation holds is sent there with every question.

    The same surface as `ModelFile`, as far as interfaces need it.
    """

    address: ServerAddress
    model: str = ""  # one of the server's models; "" takes its first

    experts: ClassVar[int] = 0  # a server does not tell its experts
    bundle: ClassVar[None] = None

    @property
    def label(self) -> str:
        """What interfaces call it, always visible, with a warning."""
        return f"model server at {self.address.place}, no medical advice"

    def known(self) -> ModelInfo:
        """What is known before the server was asked."""
        return ModelInfo(
            path=Path(),
            name=self.model or self.address.place,
            architecture="server",
            size=0,
            layers=0,
            experts=0,
            experts_used=0,
            context=0,
            context_trained=0,
            vocabulary=0,
            routing_traced=False,
            bundle=None,
            server=self.address.url,
        )
