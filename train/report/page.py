"""One HTML page of a run: what was trained, how it went, what the experts do.

The page is one file with its pictures inside; it loads nothing from anywhere, so it can be
mailed, archived and opened offline.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.files import replace_text
from sparsedoctor.train.report.findings import Finding, findings
from sparsedoctor.train.report.pictures import draw_all
from sparsedoctor.train.report.record import RunRecord, read_run
from sparsedoctor.train.report.specialisation import Specialisation, specialisation

PAGE_FILE = "report.html"
PICTURES = "pictures"

# What each picture shows and how to read it.
CAPTIONS = {
    "loss": (
        "Did it learn?",
        "Loss per answer token in nats; lower is better, and the exponential of it is the "
        "perplexity. Only the held-out line says how the model does on questions it has not seen.",
    ),
    "terms": (
        "What else was optimised",
        "The terms beside the language-model loss. Contrast makes experts distinct, route lets the "
        "contrast supervise the router, balance keeps all experts in use. Contrast and route are "
        "shown as they count: they grow while they warm up and fall while they are released, "
        "whatever the experts do.",
    ),
    "load": (
        "Which experts work",
        "Left: the part of all choices each expert of each layer receives; white is an even share, "
        "blue less, red more. Right: the busiest expert of each layer over time; a row that turns "
        "dark is a layer that collapses onto few experts.",
    ),
    "routers": (
        "How the routers decide",
        "Lines are means over layers, bands reach from the least to the greatest layer. An entropy "
        "near 1 means all experts are used alike over many tokens; the margin says how decided the "
        "router is about a single token.",
    ),
    "memory": (
        "The expert memory queue",
        "Contrast compares each token with remembered tokens. Its accuracy is the part of tokens "
        "whose nearest remembered token went to the same expert.",
    ),
    "topics": (
        "Do experts attend to topics?",
        "Left: how much knowing the topic tells about the expert, by layer, against the same "
        "choices with the topics dealt out at random. Only what lies above the grey band is more "
        "than chance. Right: the part of each topic's choices in the layer that exceeds it most; "
        "red where a topic uses an expert more than all topics do, blue less. An expert's number "
        "means nothing across layers.",
    ),
}


def write_report(run: Path) -> Path:
    """Draw the pictures of a run into `RUN/pictures` and write `RUN/report.html`.

    Raises SparseDoctorError when `run` is no run, holds no readable line or cannot be written.
    """
    record = read_run(run)
    found = None
    if record.choices is not None:
        found = specialisation(record.choices.topics, record.choices.counts)
    pictures = draw_all(record, found)
    path = run / PAGE_FILE
    try:
        (run / PICTURES).mkdir(exist_ok=True)
        for name, content in pictures.items():
            (run / PICTURES / f"{name}.png").write_bytes(content)
        replace_text(path, build_page(record, found, pictures))
    except OSError as error:
        raise SparseDoctorError(f"cannot write the report in {run}: {error.strerror}") from error
    return path


def build_page(
    record: RunRecord, found: Specialisation | None, pictures: Mapping[str, bytes]
) -> str:
    """The whole page as text."""
    title = f"Training run {record.folder.resolve().name}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        _subtitle(record),
        _summary(findings(record, found)),
        *(_picture(name, pictures[name]) for name in CAPTIONS if name in pictures),
        _topic_table(found) if found is not None else "",
        _settings(record.run),
        _provenance(record),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _subtitle(record: RunRecord) -> str:
    experts, run = record.settings("experts"), record.settings("run")
    step = max([*record.log, *(state.step for state in record.health)])
    planned = run.get("steps")
    described = record.adapter.get("base")
    base = described.get("name") if isinstance(described, dict) else run.get("base")
    facts = [
        f"base {base}" if base else "",
        f"{experts['experts']} experts, {experts.get('top_k')} for each token, rank "
        f"{experts.get('rank')}" if "experts" in experts else "",
        f"step {step:,} of {planned:,}" if isinstance(planned, int) else f"step {step:,}",
        f"began {_moment(str(record.run['started']))}" if "started" in record.run else "",
        "finished" if record.adapter else "no finished adapter yet",
    ]  # fmt: skip
    return f'<p class="facts">{_text(" · ".join(fact for fact in facts if fact))}</p>'


def _summary(said: list[Finding]) -> str:
    signs = {"good": "✓", "note": "·", "warning": "!"}
    words = {"good": "good", "note": "note", "warning": "warning"}
    items = "".join(
        f'<li class="{finding.kind}"><span class="sign" aria-hidden="true">{signs[finding.kind]}'
        f'</span><span class="hidden">{words[finding.kind]}: </span>{_text(finding.text)}</li>'
        for finding in said
    )
    return f'<section class="summary"><h2>In short</h2><ul>{items}</ul></section>'


def _picture(name: str, content: bytes) -> str:
    heading, caption = CAPTIONS[name]
    data = base64.b64encode(content).decode("ascii")
    return (
        f"<section><h2>{_text(heading)}</h2><figure>"
        f'<img alt="{_text(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_text(caption)}</figcaption></figure></section>"
    )


def _topic_table(found: Specialisation) -> str:
    layer = found.strongest
    experts = range(found.table.shape[2])
    head = "".join(f"<th>expert {expert}</th>" for expert in experts)
    rows = "".join(
        f'<tr><th scope="row">{_text(topic)}</th><td>{found.examples[number]:,}</td>'
        + "".join(f"<td>{found.table[layer, number, expert]:.1%}</td>" for expert in experts)
        + "</tr>"
        for number, topic in enumerate(found.topics)
    )
    return (
        f"<section><details><summary>Experts by topic in layer {layer}, as numbers</summary>"
        f'<div class="wide"><table><thead><tr><th>topic</th><th>examples</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details></section>"
    )


def _settings(run: Mapping[str, Any]) -> str:
    settings = run.get("settings")
    if not isinstance(settings, dict) or not settings:
        return ""
    tables = "".join(
        f"<h3>{_text(section)}</h3>{_pairs(values)}"
        for section, values in settings.items()
        if isinstance(values, dict)
    )
    return f"<section><details><summary>All settings</summary>{tables}</details></section>"


def _provenance(record: RunRecord) -> str:
    run = record.run
    parts: list[str] = []
    if isinstance(run.get("versions"), dict):
        parts.append(f"<h3>Versions</h3>{_pairs(run['versions'])}")
    if isinstance(run.get("data_sha256"), dict):
        parts.append(f"<h3>Data, sha256</h3>{_pairs(run['data_sha256'])}")
    if run.get("base_sha256"):
        parts.append(f"<h3>Base, sha256</h3>{_pairs({'base': run['base_sha256']})}")
    others = {
        name: value
        for name, value in run.items()
        if name not in ("settings", "versions", "data_sha256", "base_sha256", "started")
    }
    for name, value in others.items():
        shown = value if isinstance(value, dict) else {name: value}
        parts.append(f"<h3>{_text(name.replace('_', ' '))}</h3>{_pairs(shown)}")
    licences = record.adapter.get("licences")
    if isinstance(licences, list) and licences:
        parts.append(f"<h3>Licences of the data</h3><p>{_text('; '.join(map(str, licences)))}</p>")
    if not parts:
        return ""
    return (
        "<section><details><summary>Versions, data and memory</summary>"
        f"{''.join(parts)}</details></section>"
    )


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_text(str(name))}</th><td>{_text(_value(value))}</td></tr>'
        for name, value in values.items()
    )
    return f'<div class="wide"><table class="pairs"><tbody>{rows}</tbody></table></div>'


def _value(value: Any) -> str:
    if value is None or value in ([], (), "", {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(item)}" for name, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _moment(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return text


def _text(text: str) -> str:
    return html.escape(text, quote=True)


_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #d9dfe5; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7f9; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC",
    sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: .95rem; margin: 1.25rem 0 .4rem; }
.facts { color: var(--soft); margin: 0 0 1.75rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 1.25rem 1.4rem; margin: 0 0 1.25rem; }
.summary ul { list-style: none; margin: 0; padding: 0; }
.summary li { padding: .4rem 0 .4rem 2rem; position: relative; }
.summary li + li { border-top: 1px solid #eef1f4; }
.sign { position: absolute; left: .1rem; width: 1.3rem; text-align: center; font-weight: 700; }
.good .sign { color: #2e8b57; }
.warning .sign { color: #b3261e; }
.note .sign { color: var(--soft); }
.warning { color: #8c1d18; }
figure { margin: 0; } img { display: block; width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: .75rem; max-width: 46rem; }
details summary { cursor: pointer; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin-top: .5rem; }
th, td { text-align: right; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid #eef1f4;
  font-variant-numeric: tabular-nums; vertical-align: top; }
th:first-child { text-align: left; } th { font-weight: 500; } thead th { color: var(--soft); }
.pairs th { color: var(--soft); white-space: nowrap; padding-right: 1.5rem; }
.pairs td { text-align: left; overflow-wrap: anywhere; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media print { body { background: #fff; } section { break-inside: avoid; border: 0; padding: 0; }
  details { display: none; } }
"""
