"""Saved conversations: search, take up again, rename, pin, branch, export, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from sparsedoctor.app.consultation.history import Conversation, History
from sparsedoctor.app.messages import told
from sparsedoctor.app.web.labels import Labels
from sparsedoctor.app.web.texts import texts
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.app.web.wiring import PRIVATE, Drawn, VisitOf, download_link, problem, remark
from sparsedoctor.core.errors import SparseDoctorError


class HistoryPanel:
    """`page` draws everything the page shows, into the outputs that `connect` gets."""

    def __init__(self, history: History, labels: Labels) -> None:
        self._history = history
        make, small = labels.make, {"size": "sm", "min_width": 60}
        with make(
            gr.Accordion, lambda t: {"label": t.conversations}, open=False, elem_id="history"
        ):
            self._search = make(
                gr.Textbox,
                lambda t: {"label": t.search, "placeholder": t.search_hint},
                elem_id="search",
            )
            self._list = make(
                gr.Radio, lambda t: {"label": t.saved}, choices=[], elem_id="conversations"
            )
            with gr.Row():
                self._open = make(gr.Button, lambda t: {"value": t.open}, elem_id="open", **small)
                self._pin = make(gr.Button, lambda t: {"value": t.pin}, elem_id="pin", **small)
                self._branch = make(
                    gr.Button, lambda t: {"value": t.branch}, elem_id="branch", **small
                )
                self._export = make(
                    gr.Button, lambda t: {"value": t.export}, elem_id="export", **small
                )
                self._delete = make(
                    gr.Button, lambda t: {"value": t.delete}, elem_id="delete", **small
                )
            self._note = gr.HTML("", elem_id="history-note", js_on_load=None)
            self._remove = make(gr.Checkbox, lambda t: {"label": t.remove}, elem_id="export-remove")
            with gr.Row():
                self._title = make(
                    gr.Textbox,
                    lambda t: {"placeholder": t.title_hint, "label": t.title_hint},
                    show_label=False,
                    container=False,
                    elem_id="title",
                )
                self._rename = make(
                    gr.Button, lambda t: {"value": t.rename}, elem_id="rename", **small
                )
            self._all = make(gr.Checkbox, lambda t: {"label": t.sure}, elem_id="delete-all-sure")
            self._delete_all = make(
                gr.Button, lambda t: {"value": t.delete_all}, size="sm", elem_id="delete-all"
            )

    @property
    def asked(self) -> list[Any]:
        """What `listed` wants to know."""
        return [self._list, self._search]

    @property
    def component(self) -> Any:
        """What `listed` draws."""
        return self._list

    def listed(self, chosen: str | None = None, query: str = "") -> Any:
        """The list, newest first; what was chosen stays so while it is listed."""
        found = self._history.conversations(query or None)
        kept = chosen if chosen in {one.id for one in found} else None
        return gr.update(choices=[(_line(one), one.id) for one in found], value=kept)

    def connect(self, visit_of: VisitOf, page: Drawn, outputs: list[Any]) -> None:
        both, asked = [self._note, self._list], self.asked
        options: dict[str, Any] = {"queue": False, **PRIVATE}

        def search(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, Any]:
            listed = self.listed(chosen, query)
            nothing = query.strip() and not listed["choices"]
            said = texts(visit_of(request).interface).nothing_found
            return (remark(said) if nothing else "", listed)

        def open_(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)
            return (*self._done(visit, chosen, query, visit.resume), *page(visit))

        def branch(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)

            def work(id: str) -> None:
                visit.resume(self._history.branch_whole(id))

            return (*self._done(visit, chosen, query, work), *page(visit))

        def pin(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, ...]:
            def work(id: str) -> None:
                self._history.pin(id, not self._history.conversation(id).pinned)

            return self._done(visit_of(request), chosen, query, work)

        def rename(
            chosen: str | None, query: str, title: str, request: gr.Request
        ) -> tuple[Any, ...]:
            def work(id: str) -> None:
                if title.strip():
                    self._history.rename(id, title)

            return ("" if chosen else title, *self._done(visit_of(request), chosen, query, work))

        def export(
            chosen: str | None, query: str, remove: bool, request: gr.Request
        ) -> tuple[Any, ...]:
            visit = visit_of(request)
            note, listed = self._done(visit, chosen, query, self._history.conversation)
            return (note or self._links(visit, chosen or "", remove), listed)

        def delete(chosen: str | None, query: str, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)
            if chosen and visit.to_delete != chosen:
                return (self._once_more(visit, chosen), gr.skip(), *page(visit))
            note, listed = self._done(visit, chosen, query, lambda id: self._gone(visit, id))
            said = remark(texts(visit.interface).deleted)
            return (note or said, listed, *page(visit))

        def delete_all(sure: bool, request: gr.Request) -> tuple[Any, ...]:
            visit = visit_of(request)
            if not sure:
                return (False, problem(texts(visit.interface).tick_first), gr.skip(), *page(visit))
            note, listed = self._done(visit, "*", "", lambda _: self._gone(visit, None))
            said = remark(texts(visit.interface).deleted)
            return (False, note or said, listed, *page(visit))

        self._search.change(search, inputs=asked, outputs=both, **options)
        self._list.input(lambda: "", outputs=[self._note], **options)
        self._open.click(open_, inputs=asked, outputs=[*both, *outputs], **options)
        self._branch.click(branch, inputs=asked, outputs=[*both, *outputs], **options)
        self._pin.click(pin, inputs=asked, outputs=both, **options)
        self._export.click(export, inputs=[*asked, self._remove], outputs=both, **options)
        self._remove.input(lambda: "", outputs=[self._note], **options)  # made otherwise
        self._delete.click(delete, inputs=asked, outputs=[*both, *outputs], **options)
        for trigger in (self._rename.click, self._title.submit):
            trigger(rename, inputs=[*asked, self._title], outputs=[self._title, *both], **options)
        self._delete_all.click(
            delete_all, inputs=[self._all], outputs=[self._all, *both, *outputs], **options
        )

    def _done(
        self, visit: Visit, chosen: str | None, query: str, work: Callable[[str], object]
    ) -> tuple[Any, Any]:
        """Do `work` with what is chosen; what to say about it, and the list after it."""
        visit.to_delete = ""
        if not chosen:
            return problem(texts(visit.interface).choose_first), self.listed(None, query)
        try:
            work(chosen)
        except SparseDoctorError as error:
            return problem(told(error, visit.interface)), self.listed(chosen, query)
        notices = [one.text(visit.interface) for one in self._history.take_notices()]
        return "".join(map(remark, notices)), self.listed(chosen, query)

    def _once_more(self, visit: Visit, chosen: str) -> str:
        """Deleting is for ever: it takes a second press."""
        try:
            title = self._history.conversation(chosen).title
        except SparseDoctorError as error:
            return problem(told(error, visit.interface))
        visit.to_delete = chosen
        return problem(texts(visit.interface).once_more.format(title))

    def _gone(self, visit: Visit, conversation: str | None) -> None:
        """Delete one or all (None); what is on the screen goes too."""
        shown = visit.session.conversation
        if not visit.session.private and conversation in (None, shown):
            visit.settle()
        if conversation is None:
            self._history.delete_all()
        else:
            self._history.delete(conversation)
        if not visit.session.private and conversation in (None, shown):
            visit.begin(private=False)

    def _links(self, visit: Visit, chosen: str, remove: bool) -> str:
        """The conversation as files for the browser to save."""
        label, name = texts(visit.interface).save_file, "sparsedoctor-conversation"
        markdown = self._history.export(chosen, "markdown", without_identifiers=remove)
        whole = self._history.export(chosen, "json", without_identifiers=remove)
        return (
            download_link(markdown, f"{name}.md", label, "export-markdown")
            + "<br>"
            + download_link(whole, f"{name}.json", label, "export-json")
        )


def _line(one: Conversation) -> str:
    marks = ("★ " if one.pinned else "") + ("↳ " if one.parent else "")  # pinned, a branch
    return f"{marks}{one.title} ({one.updated[:10]})"
