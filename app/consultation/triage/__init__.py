"""Triage: the rules that read a person's words before any model does."""

from sparsedoctor.app.consultation.triage.assess import assess

__all__ = ["assess"]
