"""Draws the pictures of docs/how_it_works.md: ``python -m docs.how_it_works`` writes them into docs/pictures."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).with_name("pictures")
_INK, _SOFT = "#1f2328", "#59636e"
_FILLS = {"text": "#ffffff", "network": "#dcecfb", "index": "#e3f3e6", "score": "#fdeed8", "plain": "#f3f3f1"}


@dataclass
class Drawing:
    """Boxes and arrows, in units of a pixel."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, width: int, height: int, *lines: str, fill: str = "plain") -> None:
        """Draw a box around centred lines of text, the first one bold."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{_FILLS[fill]}" stroke="{_INK}"/>'
        )
        top = y + height / 2 - 8.5 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            weight = "600" if number == 0 else "400"
            self.words(x + width / 2, top + 17 * number, line, weight=weight, colour=_INK if number == 0 else _SOFT)

    def words(self, x: float, y: float, text: str, *, weight: str = "400", colour: str = _SOFT) -> None:
        """Write centred text."""
        shown = html.escape(text, quote=False)
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="middle" font-weight="{weight}" fill="{colour}">{shown}</text>'
        )

    def arrow(self, *points: tuple[int, int], dashed: bool = False) -> None:
        """Draw a line through points with a head at its end."""
        path = " ".join(f"{x},{y}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_INK}" stroke-width="1.3"{dashes} '
            'marker-end="url(#head)"/>'
        )

    def svg(self) -> str:
        """Return the drawing as a file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="13">\n<title>{html.escape(self.title)}</title>\n'
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{_INK}"/></marker></defs>\n'
            f'<rect width="{self.width}" height="{self.height}" rx="8" fill="#ffffff"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def towers() -> Drawing:
    """Draw a dual encoder beside a cross-encoder."""
    drawing = Drawing(860, 400, "A dual encoder reads query and document apart, a cross-encoder both together")
    drawing.words(250, 28, "Dual encoder: two towers", weight="600", colour=_INK)
    drawing.words(705, 28, "Cross-encoder", weight="600", colour=_INK)
    for x, side, when in ((30, "query", "when it is asked"), (290, "document", "once, when it is indexed")):
        drawing.box(x, 325, 180, 50, f"{side}'s text", when, fill="text")
        drawing.box(x, 255, 180, 46, "words → vectors", "one shared table", fill="network")
        drawing.box(x, 180, 180, 50, f"{side} tower", "network, pooling", fill="network")
        drawing.box(x, 120, 180, 36, "one vector of length 1", fill="index")
        for y in (325, 255, 180):
            drawing.arrow((x + 90, y), (x + 90, y - 23))
    drawing.box(160, 50, 180, 42, "cosine", "inner product", fill="score")
    drawing.arrow((120, 120), (200, 94))
    drawing.arrow((380, 120), (300, 94))
    drawing.box(560, 325, 290, 50, "query's text, document's text", "when it is asked, for each document", fill="text")
    drawing.box(
        560,
        160,
        290,
        130,
        "one network",
        "every word of the query may look",
        "at every word of the document",
        fill="network",
    )
    drawing.box(615, 50, 180, 42, "score", "of this pair", fill="score")
    drawing.arrow((705, 325), (705, 292))
    drawing.arrow((705, 160), (705, 94))
    return drawing


def loop() -> Drawing:
    """Draw the loop of indexing, mining, training, reindexing, fusing and measuring."""
    drawing = Drawing(860, 360, "The loop: index, mine BM25 negatives, train, reindex, fuse, measure")
    drawing.box(30, 60, 150, 56, "1 index", "texts, for BM25", fill="index")
    drawing.box(250, 60, 170, 56, "2 mine", "BM25 negatives", fill="plain")
    drawing.box(490, 60, 150, 56, "3 train", "InfoNCE", fill="network")
    drawing.box(690, 60, 140, 56, "checkpoint", "two towers, ONNX", fill="network")
    drawing.box(690, 190, 140, 56, "4 reindex", "text and vector", fill="index")
    drawing.box(490, 190, 150, 56, "5 fuse", "BM25 and k-NN", fill="score")
    drawing.box(250, 190, 170, 56, "6 measure", "the whole corpus", fill="plain")
    drawing.box(30, 190, 150, 56, "judged queries", "a part is held out", fill="text")
    drawing.arrow((180, 88), (248, 88))
    drawing.arrow((420, 88), (488, 88))
    drawing.arrow((640, 88), (688, 88))
    drawing.arrow((760, 116), (760, 188))
    drawing.arrow((690, 218), (642, 218))
    drawing.arrow((490, 218), (422, 218))
    drawing.arrow((180, 218), (248, 218))
    drawing.arrow((105, 190), (105, 150), (335, 150), (335, 118))
    drawing.arrow((760, 246), (760, 310), (10, 310), (10, 30), (335, 30), (335, 58), dashed=True)
    drawing.words(400, 330, "rounds (train --refresh): negatives from the towers' own index")
    return drawing


PICTURES = {"towers.svg": towers, "loop.svg": loop}


def main() -> None:
    """Write the pictures."""
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
