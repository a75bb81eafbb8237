# SPDX-License-Identifier: Apache-2.0
"""What a file is, by its bytes and by nothing else, and what it may be called."""

import io
import zipfile

import pytest

from approvals.attachments import BY_TYPE, KINDS, download_name, kind_of, plain_name

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20


def packed() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\x00" * 1_000_000)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (packed(), "application/zip"),
        ("Fünf Ordner, 12:00 Uhr\r\n\tam Rathaus\f".encode(), "text/plain"),
        (b'{"a": 1}', "text/plain"),
        (b"<svg onload=alert(1)>", "text/plain"),
        (b"#!/bin/sh\nrm -rf /\n", "text/plain"),
    ],
)
def test_a_kind_is_found_in_the_bytes(content, media_type):
    found = kind_of(content)

    assert found is not None
    assert found.media_type == media_type


@pytest.mark.parametrize(
    "content",
    [
        b"MZ\x90\x00\x03",  # a program for Windows
        b"\x7fELF\x02\x01",  # and one for Linux
        b"\xca\xfe\xba\xbe",
        b"\x1f\x8b\x08\x00",  # gzip
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"BM\x36\x00",
        b"PK\x05\x06",  # an archive with nothing in it
        b"text with \x00 in it",
        b"text with \x1b[2J in it",
        "half a text: ü".encode("latin-1"),
        " %PDF-1.7".encode("utf-16"),
    ],
)
def test_what_is_not_on_the_list_is_of_no_kind(content):
    assert kind_of(content) is None


def test_an_archive_is_known_by_its_first_bytes_and_stays_packed():
    bomb = packed()[:200]  # no archive that anybody could open

    assert len(packed()) < 2_000
    assert kind_of(bomb).media_type == "application/zip"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("invoice.pdf", "invoice.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\plan.pdf", "plan.pdf"),
        ("/absolute/", "unnamed"),
        ("", "unnamed"),
        ("  ", "unnamed"),
        ("..", "unnamed"),
        ("a\x00b.pdf", "a<U+0000>b.pdf"),
        ("invoice\u202efdp.exe", "invoice<U+202E>fdp.exe"),
        ("two\nlines", "two lines"),
        ("Übersicht (2).pdf", "Übersicht (2).pdf"),
    ],
)
def test_a_name_loses_its_folders_and_shows_what_it_hides(given, kept):
    assert plain_name(given) == kept


@pytest.mark.parametrize(
    ("name", "media_type", "saved"),
    [
        ("invoice.pdf", "application/pdf", "invoice.pdf"),
        ("invoice.exe", "application/pdf", "invoice.exe.pdf"),
        ("page.html", "text/plain", "page.html.txt"),
        ("plan.docx", "application/zip", "plan.docx"),
        ("a<U+202E>b.png", "image/png", "a_U+202E_b.png"),
        ('quote".png', "image/png", "quote_.png"),
        (".hidden", "text/plain", "hidden.txt"),
        ("Übersicht.PDF", "application/pdf", "Übersicht.PDF"),
        ("a;b\r\nc.gif", "image/gif", "a_b__c.gif"),
    ],
)
def test_it_is_saved_under_a_harmless_name_that_says_what_it_is(name, media_type, saved):
    assert download_name(name, media_type) == saved


def test_no_two_kinds_are_one():
    assert len(BY_TYPE) == len(KINDS)
    assert all(kind.endings for kind in KINDS)
