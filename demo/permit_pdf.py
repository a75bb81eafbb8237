# SPDX-License-Identifier: Apache-2.0
"""The permit as a PDF. The same permit gives the same bytes, on the same machine, at any time."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer, Table, TableStyle

from demo.permit import Permit

# DejaVu knows more alphabets; Vera, its ancestor, comes with the library.
FONT_FILES = (
    (Path("/usr/share/fonts/truetype/dejavu"), "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    (Path(reportlab.__file__).parent / "fonts", "Vera.ttf", "VeraBd.ttf"),
)
REGULAR, BOLD, ASIAN = "Permit", "Permit-Bold", "STSong-Light"
INK, QUIET, BAND = colors.HexColor("#1a1d23"), colors.HexColor("#565d6b"), colors.HexColor("#1d3a8a")
MARGIN = 0.9 * inch


def render(permit: Permit) -> bytes:
    _load_fonts()
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=LETTER,
        title=f"Public protest permit {permit.number}",
        author="Permit office",
        subject=f"{permit.applicant}, {permit.place}, {permit.event_date.isoformat()}",
        invariant=True,  # no time of making, no random id
    )
    width, height = LETTER
    frame = Frame(MARGIN, MARGIN, width - 2 * MARGIN, height - 2.6 * MARGIN, id="body", leftPadding=0, rightPadding=0)

    def furniture(canvas: Canvas, _: BaseDocTemplate) -> None:
        _draw_furniture(canvas, permit)

    document.addPageTemplates([PageTemplate(id="permit", frames=[frame], onPage=furniture)])
    document.build(_story(permit))
    return buffer.getvalue()


def _story(permit: Permit) -> list[Flowable]:
    facts = [
        ("Issued to", permit.applicant),
        ("Date", f"{permit.event_date:%A}, {permit.event_date.day} {permit.event_date:%B %Y}"),
        ("Place", permit.place),
        ("Purpose", permit.purpose),
        ("Expected crowd", f"up to {permit.crowd_size:,} people"),
        ("Approved by", permit.approved_by),
        ("Fee", permit.fee),
    ]
    opening = "The person named below may hold a public protest at the place and on the day stated here."
    story: list[Flowable] = [Paragraph(_markup(opening), BODY), Spacer(1, 14), _facts_table(facts), Spacer(1, 18)]
    story.append(Paragraph("Conditions", HEADING))
    for number, condition in enumerate(permit.conditions, start=1):
        story.append(Paragraph(_markup(f"{number}. {condition}"), CONDITION))
    return story


def _facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    rows = [[Paragraph(_markup(name), LABEL), Paragraph(_markup(value), VALUE)] for name, value in facts]
    table = Table(rows, colWidths=[1.5 * inch, LETTER[0] - 2 * MARGIN - 1.5 * inch])
    table.setStyle(
        TableStyle(
            [
                ("LINEBELOW", (0, 0), (-1, -1), 0.5, colors.HexColor("#c9ced8")),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("TOPPADDING", (0, 0), (-1, -1), 6),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ]
        )
    )
    return table


def _draw_furniture(canvas: Canvas, permit: Permit) -> None:
    width, height = LETTER
    canvas.saveState()
    canvas.setFillColor(BAND)
    canvas.rect(0, height - 1.25 * MARGIN, width, 1.25 * MARGIN, stroke=0, fill=1)
    canvas.setFillColor(colors.white)
    canvas.setFont(BOLD, 20)
    canvas.drawString(MARGIN, height - 0.8 * MARGIN, "Public protest permit")
    canvas.setFont(BOLD, 13)
    canvas.drawRightString(width - MARGIN, height - 0.8 * MARGIN, permit.number)
    footer = Paragraph(_markup(f"{permit.reference} · page {canvas.getPageNumber()}"), FOOTER)
    footer.wrapOn(canvas, width - 2 * MARGIN, MARGIN)
    footer.drawOn(canvas, MARGIN, 0.5 * MARGIN)
    canvas.restoreState()


# Letters --------------------------------------------------------------------------------------------------


@cache
def _load_fonts() -> None:
    folder, regular, bold = next(known for known in FONT_FILES if (known[0] / known[1]).exists())
    pdfmetrics.registerFont(TTFont(REGULAR, str(folder / regular)))
    pdfmetrics.registerFont(TTFont(BOLD, str(folder / bold)))
    pdfmetrics.registerFont(UnicodeCIDFont(ASIAN))


def _markup(text: str) -> str:
    """Text for a Paragraph: never markup itself, each letter in a font that has it."""
    printable = "".join(_printable(letter) for letter in unicodedata.normalize("NFC", text))
    runs = [("".join(run), is_wide) for is_wide, run in groupby(printable, key=_is_wide)]
    return "".join(f'<font name="{ASIAN}">{escape(run)}</font>' if wide else escape(run) for run, wide in runs)


def _printable(letter: str) -> str:
    """The letter, its base letter, or `?`: a blank box on a permit would say less."""
    if _has(letter) or _is_wide(letter):
        return letter
    base = unicodedata.normalize("NFKD", letter)[0]
    return base if _has(base) else "?"


def _has(letter: str) -> bool:
    return ord(letter) in pdfmetrics.getFont(REGULAR).face.charToGlyph


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in {"W", "F"} and unicodedata.category(letter)[0] in {"L", "P"}


BODY = ParagraphStyle("body", fontName=REGULAR, fontSize=11, leading=16, textColor=INK)
HEADING = ParagraphStyle("heading", parent=BODY, fontName=BOLD, fontSize=13, spaceAfter=6)
LABEL = ParagraphStyle("label", parent=BODY, fontSize=9.5, textColor=QUIET)
VALUE = ParagraphStyle("value", parent=BODY, fontName=BOLD)
CONDITION = ParagraphStyle("condition", parent=BODY, leftIndent=16, firstLineIndent=-16, spaceAfter=4)
FOOTER = ParagraphStyle("footer", parent=BODY, fontSize=7.5, leading=10, textColor=QUIET, alignment=TA_RIGHT)
