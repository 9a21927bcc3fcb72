"""Auditing scores that were made elsewhere."""

from dpbench.audit.reading import Bits as Bits
from dpbench.audit.reading import Shadows as Shadows
from dpbench.audit.rows import Row as Row
from dpbench.audit.score_file import audit_rows as audit_rows

__all__ = ["Bits", "Row", "Shadows", "audit_rows"]
