"""Explanations as files that people review and annotate in."""

from whenwhere.export.formats import FORMATS, ExportError, Format, export

__all__ = ["FORMATS", "ExportError", "Format", "export"]
