"""JSON documents with a checksum: what work is resumed by must be what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["document_text", "parse_document"]

CHECKSUM = "sha256"  # the entry beside those of the document


def document_text(document: Mapping[str, Any]) -> str:
    """Write a document as JSON, with a checksum of its entries."""
    return json.dumps({**document, CHECKSUM: _checksum(document)}, indent=1)


def parse_document(content: bytes) -> dict[str, Any]:
    """Read what `document_text` wrote. A document without a checksum, of another program, is read as it is.

    Raises
    ------
    ValueError, RecursionError
        If it is not JSON, not a document, or does not hold what was written.
    """
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    written = document.pop(CHECKSUM, None)
    if written is not None and written != _checksum(document):
        raise ValueError("it is damaged: its entries are not those that were written")
    return document


def _checksum(document: Mapping[str, Any]) -> str:
    as_read = json.loads(json.dumps(document))  # tuples become lists, and keys texts
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()
