"""JSON documents with a checksum: what is read is what was written, or refused."""

from __future__ import annotations

import json

import pytest

from mosaic.storage.document import document_text, parse_document

DOCUMENT = {"configuration": {"seed": 0, "rate": 1e-3, "name": "é"}, "shape": (1, 6, 5), "ok": True, "none": None}


def test_a_document_is_read_as_json_gives_it() -> None:
    assert parse_document(document_text(DOCUMENT).encode()) == json.loads(json.dumps(DOCUMENT))


def test_no_flipped_bit_changes_what_is_read() -> None:
    content = document_text(DOCUMENT).encode()
    whole, refused = parse_document(content), 0
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            try:
                read = parse_document(bytes(damaged))
            except ValueError:
                refused += 1
            else:  # a space became another, or the checksum lost its name
                assert {key: value for key, value in read.items() if key in whole} == whole
    assert refused > 4 * len(content)


def test_a_document_of_another_program_has_no_checksum() -> None:
    assert parse_document(b'{"a": 1}') == {"a": 1}
    for content in (b"[1]", b"7", b"", b"\xff", b'{"a": 1, "sha256": 7}'):
        with pytest.raises(ValueError):  # noqa: PT011 - callers name the file
            parse_document(content)
