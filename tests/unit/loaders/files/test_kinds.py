"""Each kind of file, written by hand or by the library that people write it with."""

from __future__ import annotations

import gzip
import io
from datetime import datetime

import pytest

from hybrid_search.types import Section

MARKDOWN = """---
title: The manual
tags: [net, vpn]
date: 2024-05-06
nested: {a: 1}
---
# Install

Get the *package*, then
run `setup`.

## Linux

```
# not a heading
apt install it
```

| system | command |
|---|---|
| Debian | apt |

## Windows
<details><b>Click</b> twice.</details>
"""


def test_markdown_is_cut_at_its_headings_and_its_front_matter_is_metadata(put, load):
    put("guide/setup.md", MARKDOWN)
    document = load().documents["guide/setup.md"]
    assert document.title == "The manual"
    assert document.sections == (
        Section((), "Get the package, then\nrun setup."),
        Section(("Linux",), "# not a heading\napt install it\n\nsystem | command\n\nDebian | apt"),
        Section(("Windows",), "Click twice."),
    )
    assert document.text.startswith("Get the package, then\nrun setup.\n\nLinux\n\n# not a heading")
    said = dict(document.metadata)
    assert len(said.pop("modified")) == len("2024-05-06")
    assert said == {
        "tags": ("net", "vpn"), "date": "2024-05-06", "path": "guide/setup.md", "kind": "markdown", "folder": "guide"
    }  # fmt: skip


def test_without_a_front_matter_the_first_heading_is_the_title(put, load):
    put("a.md", "# Fleas\n\nThey jump.\n")
    document = load().documents["a.md"]
    assert (document.title, document.sections) == ("Fleas", (Section((), "They jump."),))


def test_a_broken_front_matter_is_text(put, load):
    put("a.md", "---\n: [\n---\nThey jump.\n")
    assert "They jump." in load().documents["a.md"].text


def test_restructured_text_keeps_the_text_of_sphinx_and_includes_no_file(put, load):
    put("secret.txt", "hunter2")
    put(
        "a.rst",
        "=====\nFleas\n=====\n\nSee :ref:`the cat <cat>` and :func:`jump`.\n\nJumping\n-------\n\n"
        ".. versionadded:: 3.1\n   They jump.\n\n.. include:: secret.txt\n\n.. unheard:: of\n\nEnd.\n",
    )
    document = load().documents["a.rst"]
    assert document.title == "Fleas"
    assert document.sections[0] == Section((), "See the cat and jump.")
    assert document.sections[1].headings == ("Jumping",)
    assert document.sections[1].text == "3.1\nThey jump.\n\nEnd."


HTML = """<!doctype html><html lang="en"><head><title>Fleas - Site</title><meta name="author" content="Ann">
<style>p {}</style></head><body><nav>Home</nav><main><h1>Fleas<a class="headerlink" href="#f">¶</a></h1>
<p>They <b>jump</b>,<br>and   bite.</p><script>x()</script><h2>How</h2><pre>a
  b</pre><ul><li>one</li><li>two</li></ul><table><tr><td>1</td><td>2</td></tr></table></main>
<footer>(c)</footer></body></html>"""


def test_html_gives_what_a_reader_sees(put, load):
    put("a.html", HTML)
    document = load().documents["a.html"]
    assert document.title == "Fleas"
    assert document.sections == (
        Section((), "They jump,\nand bite."),
        Section(("How",), "a\n  b\n\none\n\ntwo\n\n1 | 2"),
    )
    assert (document.metadata["author"], document.metadata["lang"]) == ("Ann", "en")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Größe\r\nMaß".encode("utf-16"), "Größe\nMaß"),
        ("\ufeffGröße".encode(), "Größe"),
        (
            "Die Größe der Flöhe wird überschätzt; für die Prüfung genügt ein Blick. Schöne Grüße aus München!".encode(
                "latin-1"
            ),
            "Die Größe der Flöhe wird überschätzt; für die Prüfung genügt ein Blick. Schöne Grüße aus München!",
        ),
        (b"N\x08NA\x08AM\x08ME\x08E\x1b[0m", "NAME"),
    ],
)
def test_the_encoding_of_a_text_is_detected(put, load, data, text):
    put("a.txt", data)
    assert load().documents["a.txt"].text == text


def test_html_in_another_encoding_declares_it(put, load):
    put("a.html", '<meta charset="iso-8859-1"><p>Flöhe – €'.encode("windows-1252"))
    assert load().documents["a.html"].text == "Flöhe – €"


def test_docx_has_headings_by_style_tables_and_properties(put, load):
    from docx import Document

    made = Document()
    made.core_properties.author, made.core_properties.modified = "Ann", datetime(2024, 5, 6)
    made.add_heading("Fleas", 0)
    made.add_paragraph("They jump.")
    made.add_heading("Food", 1)
    table = made.add_table(rows=1, cols=2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "blood", "daily"
    buffer = io.BytesIO()
    made.save(buffer)
    put("a.docx", buffer.getvalue())
    document = load().documents["a.docx"]
    assert document.title == "Fleas"
    assert document.sections == (Section((), "They jump."), Section(("Food",), "blood | daily"))
    assert (document.metadata["author"], document.metadata["date"]) == ("Ann", "2024-05-06")


def test_pdf_has_a_section_for_each_page(put, load):
    put("a.pdf", pdf_of("They jump.", "They bite."))
    document = load().documents["a.pdf"]
    assert document.sections == (Section(("page 1",), "They jump."), Section(("page 2",), "They bite."))
    assert (document.title, document.metadata["kind"]) == ("a.pdf", "pdf")


def test_a_packed_file_is_read_as_what_is_in_it(put, load):
    put("a.md.gz", gzip.compress(b"# Fleas\n\nThey jump."))
    assert load().documents["a.md.gz"].title == "Fleas"


def pdf_of(*texts: str) -> bytes:
    """Write a PDF with a line of text on each page, by hand."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(texts)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(texts):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return body + f"{head}trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF".encode()
