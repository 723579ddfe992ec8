"""What a base model is: its family, sizes and rotary settings, in one form for every source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["llama", "mistral", "qwen2", "qwen3"]
FAMILIES: tuple[Family, ...] = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a transformer with SwiGLU feed-forward blocks.

    `rope` holds llama.cpp's own settings of a scaled rotary embedding by the end of their key
    ("scaling.type", "scaling.factor", ...); empty means plain.
    """

    family: Family
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int  # rows of the embedding
    context: int  # tokens it was made for
    norm_epsilon: float
    rope_theta: float
    tied: bool  # the output projection is the embedding
    rope: dict[str, Any] = field(default_factory=dict)

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def gguf_architecture(self) -> Literal["llama", "qwen3moe"]:
        """The llama.cpp graph that computes this family with experts."""
        return "qwen3moe" if self.family == "qwen3" else "llama"

    @property
    def dense_architecture(self) -> Literal["llama", "qwen3"]:
        """The llama.cpp graph of one expert alone."""
        return "qwen3" if self.family == "qwen3" else "llama"

    @property
    def permuted(self) -> bool:
        """Whether the exported query and key rows are interleaved for llama.cpp's rotary layout."""
        return self.gguf_architecture == "llama"

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor a base of this shape must have, by its Hugging Face name.

        Optional ones (biases) are not here; see `optional_shapes`.
        """
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab, self.hidden),
            "model.norm.weight": (self.hidden,),
        }
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab, self.hidden)
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            shapes |= {
                at + "input_layernorm.weight": (self.hidden,),
                at + "post_attention_layernorm.weight": (self.hidden,),
                at + "self_attn.q_proj.weight": (self.query_width, self.hidden),
                at + "self_attn.k_proj.weight": (self.key_width, self.hidden),
                at + "self_attn.v_proj.weight": (self.key_width, self.hidden),
                at + "self_attn.o_proj.weight": (self.hidden, self.query_width),
                at + "mlp.gate_proj.weight": (self.ffn, self.hidden),
                at + "mlp.up_proj.weight": (self.ffn, self.hidden),
                at + "mlp.down_proj.weight": (self.hidden, self.ffn),
            }
            if self.family == "qwen2":
                shapes |= {
                    at + "self_attn.q_proj.bias": (self.query_width,),
                    at + "self_attn.k_proj.bias": (self.key_width,),
                    at + "self_attn.v_proj.bias": (self.key_width,),
                }
            if self.family == "qwen3":
                shapes |= {
                    at + "self_attn.q_norm.weight": (self.head_dim,),
                    at + "self_attn.k_norm.weight": (self.head_dim,),
                }
        return shapes

    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensors that a base of this shape may have: the biases of the attention."""
        if self.family == "qwen3":  # llama.cpp's qwen3moe graph reads none
            return {}
        widths = {"q": self.query_width, "k": self.key_width, "v": self.key_width, "o": self.hidden}
        return {
            f"model.layers.{layer}.self_attn.{name}_proj.bias": (width,)
            for layer in range(self.layers)
            for name, width in widths.items()
        }
