"""`sparsedoctor-export inspect`: what a GGUF file is. Any GGUF, ours or not."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from sparsedoctor.core.bundle import RoutingMetadata, parse_bundle
from sparsedoctor.core.files import sha256_of
from sparsedoctor.core.gguf_header import GGUFHeader, SkippedArray, read_header
from sparsedoctor.core.models import find_model
from sparsedoctor.export.gguf_file import data_sha256

_WIDTH = 100


def run(words: Sequence[str]) -> int:
    """Parse, read, print."""
    parser = argparse.ArgumentParser(
        "sparsedoctor-export inspect",
        description="Say what a GGUF file is: architecture, sizes, number formats, tokenizer, "
        "routing metadata, what each expert attends to, licences and hashes.",
    )
    parser.add_argument("file", help='a GGUF file, one of your models, or "default"')
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tensors", action="store_true", help="list every tensor")
    parser.add_argument(
        "--check", action="store_true", help="read the whole file and compare its hash"
    )
    options = parser.parse_args(words)
    path = find_model(options.file)
    header = read_header(path)
    bundle = parse_bundle(header, path)
    described = describe(path, header, bundle, check=options.check)
    if options.json:
        print(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        _print(described, tensors=options.tensors)
    return 1 if options.check and described["hashes"]["tensors_match"] is False else 0


def describe(
    path: Path, header: GGUFHeader, bundle: RoutingMetadata | None, *, check: bool
) -> dict[str, Any]:
    """Everything about a file as JSON. `check` reads the whole file for its hashes."""
    keys = header.metadata
    prefix = header.architecture

    def size(name: str) -> Any:
        return keys.get(f"{prefix}.{name}")

    tensors = header.tensors.values()
    formats: dict[str, dict[str, int]] = {}
    for info in tensors:
        row = formats.setdefault(info.type_name, {"tensors": 0, "parameters": 0, "bytes": 0})
        row["tensors"] += 1
        row["parameters"] += prod(info.shape)
        row["bytes"] += info.size
    tokens = keys.get("tokenizer.ggml.tokens")
    hashes: dict[str, Any] = {
        "base_sha256": bundle.base_sha256 if bundle else None,
        "tensors_sha256": (bundle.tensors_sha256 or None) if bundle else None,
    }
    if check:
        found = data_sha256(path)
        hashes["file_sha256"] = sha256_of(path)
        hashes["tensors_found"] = found
        hashes["tensors_match"] = found == hashes["tensors_sha256"] if bundle else None
    return {
        "file": str(path),
        "bytes": header.file_size,
        "gguf_version": header.version,
        "name": keys.get("general.name"),
        "architecture": prefix,
        "parameters": sum(prod(info.shape) for info in tensors),
        "layers": size("block_count"),
        "hidden_size": size("embedding_length"),
        "feed_forward_size": size("feed_forward_length"),
        "heads": size("attention.head_count"),
        "kv_heads": size("attention.head_count_kv"),
        "context": size("context_length"),
        "experts": size("expert_count") or 0,
        "experts_used": size("expert_used_count") or 0,
        "tokenizer": {
            "model": keys.get("tokenizer.ggml.model"),
            "pre": keys.get("tokenizer.ggml.pre"),
            "tokens": tokens.length if isinstance(tokens, SkippedArray) else len(tokens or ()),
            "chat_template": "tokenizer.chat_template" in keys,
        },
        "formats": dict(sorted(formats.items(), key=lambda item: -item[1]["bytes"])),
        "tensors": [
            {"name": info.name, "shape": list(info.shape), "type": info.type_name}
            for info in tensors
        ],
        "licences": _licences(header, bundle),
        "hashes": hashes,
        "routing": asdict(bundle) if bundle else None,
    }


def _licences(header: GGUFHeader, bundle: RoutingMetadata | None) -> list[str]:
    found = (
        [str(header.metadata["general.license"])] if "general.license" in header.metadata else []
    )
    return [*found, *(bundle.licences if bundle else ())]


def _print(file: dict[str, Any], *, tensors: bool) -> None:
    print(file["file"])
    print(f"  name           {file['name'] or '(none)'}")
    print(
        f"  size           {file['bytes'] / 1e6:,.1f} MB, {file['parameters'] / 1e6:,.1f} M values"
    )
    print(
        f"  architecture   {file['architecture'] or '(none)'}, GGUF version {file['gguf_version']}"
    )
    print(
        f"  layers         {file['layers']}, hidden {file['hidden_size']}, feed-forward "
        f"{file['feed_forward_size']}, heads {file['heads']}/{file['kv_heads']}, "
        f"context {file['context']}"
    )
    experts = f"{file['experts']}, {file['experts_used']} per token" if file["experts"] else "none"
    print(f"  experts        {experts}")
    tokenizer = file["tokenizer"]
    print(
        f"  tokenizer      {tokenizer['model']} {tokenizer['pre'] or ''}, "
        f"{tokenizer['tokens']:,} tokens, "
        f"{'with' if tokenizer['chat_template'] else 'without'} a chat template"
    )
    for name, row in file["formats"].items():
        print(
            f"  {name:<14} {row['tensors']} tensors, {row['parameters'] / 1e6:,.1f} M values, "
            f"{row['bytes'] / 1e6:,.1f} MB"
        )
    print(f"  licences       {'; '.join(file['licences']) or '(none named)'}")
    for name, value in file["hashes"].items():
        if value is not None:
            print(f"  {name:<14} {value}")
    if file["routing"] is None:
        print("  routing        no metadata of SparseDoctor; it runs as a plain model")
    else:
        _print_routing(file["routing"])
    if tensors:
        for row in file["tensors"]:
            print(f"  {row['type']:<6} {row['name']:<40} {row['shape']}")


def _print_routing(routing: dict[str, Any]) -> None:
    print(f"routing metadata {routing['format_version']}: {routing['label']}")
    print(f"  base           {routing['base_name']} ({routing['base_architecture'] or 'unknown'})")
    print(
        f"  adapter        rank {routing['rank']}, alpha {routing['alpha']:g}, sharing "
        f"{routing['sharing']:.3g}, shared rank "
        f"{routing['shared_rank']}, attention rank {routing['attention_rank']}"
    )
    print(f"  template       {routing['prompt_template']}")
    print(f"  experts        {', '.join(routing['expert_names'])}")
    for table in ("training", "evaluation"):
        for key, value in routing[table].items():
            text = json.dumps(value, ensure_ascii=False)
            print(f"  {table + '.' + key:<30} {text[:_WIDTH]}")
    profile = routing["profile"]
    if not profile:
        print("  profile        none yet; sparsedoctor-export calibrate makes one")
        return
    names, data, found = routing["expert_names"], profile["data"], profile["baseline"]
    print(f"what the experts attend to ({data['name']}, {data['examples']} examples):")
    print(
        f"  expert and topic share {found['information']:.4f} nats; shuffled topics "
        f"{found['shuffled_mean']:.4f}, 95 % below {found['shuffled_95']:.4f}"
    )
    print("  topic".ljust(28) + "".join(f"{name[:12]:>13}" for name in names) + "  stands out")
    for row in profile["topics"]:
        shares = "".join(f"{share:13.1%}" for share in row["shares"])
        favours = row.get("favours")
        marked = names[favours] if favours is not None else "-"
        print(f"  {row['name'][:24]:<26}{shares}  {marked}")
    used = Counter[int]()
    for layer in profile["utilisation"]:
        for expert, share in enumerate(layer):
            used[expert] += share / len(profile["utilisation"])
    shares = ", ".join(f"{names[expert]} {used[expert]:.1%}" for expert in range(len(names)))
    print(f"  used overall   {shares}")
