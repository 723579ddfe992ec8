"""How gradio builds and serves the page: nothing shared, nothing fetched, nothing public."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sparsedoctor.app.web.hardening import HOST, HOST_NAMES, OwnOriginOnly, PrivateHeaders

# Names the browser's tab: a reload keeps the name, a new or doubled tab gets another.
TAB = """() => {
  const reloaded = performance.getEntriesByType("navigation")[0]?.type === "reload";
  const name = (reloaded && sessionStorage.getItem("tab")) || crypto.randomUUID();
  sessionStorage.setItem("tab", name);
  return [name];
}"""

COPY = "(text) => { navigator.clipboard.writeText(text); }"

# Esc stops an answer, as in the terminal. A model's links open nothing: their addresses could
# carry words away.
_HEAD = """
<meta name="robots" content="noindex">
<script>
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const stop = document.querySelector("#stop");
  if (stop && !stop.disabled) stop.click();
});
for (const kind of ["click", "auxclick"]) {
  document.addEventListener(kind, (event) => {
    if (event.target.closest("#chat a")) event.preventDefault();
  }, true);
}
</script>
"""


def blocks_options() -> dict[str, Any]:
    return {"title": "SparseDoctor", "analytics_enabled": False, "delete_cache": (3600, 3600)}


def launch_options(port: int, tabs: int) -> dict[str, Any]:
    """For `gr.Blocks.launch`. `tabs`: how many are remembered at once."""
    return {
        "server_name": HOST,
        "server_port": port,
        "share": False,
        "inbrowser": False,
        "prevent_thread_lock": True,
        "quiet": True,
        "show_error": False,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "max_file_size": 1,
        "state_session_capacity": tabs,
        "theme": _theme(),
        "css": files("sparsedoctor.app.web").joinpath("page.css").read_text("utf-8"),
        "head": _HEAD,
        "app_kwargs": {
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "middleware": [
                Middleware(PrivateHeaders),
                Middleware(TrustedHostMiddleware, allowed_hosts=list(HOST_NAMES)),
                Middleware(OwnOriginOnly, port=port),
            ],
        },
    }


def _theme() -> gr.themes.Base:
    """Calm colours of enough contrast, and the system's own fonts: a theme by name would be
    fetched."""
    system = ["system-ui", "sans-serif"]
    theme = gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="cyan",
        neutral_hue="slate",
        font=system,
        font_mono=["ui-monospace", "monospace"],
    )
    strong = "*primary_700"
    return theme.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill=strong,
        button_primary_background_fill_dark=strong,
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        checkbox_label_background_fill_selected=strong,
        checkbox_label_background_fill_selected_dark=strong,
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_background_color_selected=strong,
        checkbox_background_color_selected_dark="*primary_500",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_600",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_title_padding="0",
        block_padding="*spacing_md",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
