"""A journal's style: one font, one palette, two widths; and how a figure is written to disk.

Figures are matplotlib `Figure` objects with their own Agg canvas, so nothing here touches `pyplot`, opens a window, or
changes the caller's settings. Files are the same byte for byte when drawn again: no dates, fixed SVG identifiers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hepacast.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

MM_PER_INCH = 25.4
SINGLE_COLUMN_MM = 85.0
DOUBLE_COLUMN_MM = 174.0

#: Okabe and Ito's palette, told apart by readers with any common form of colour blindness
#: (Wong B. Points of view: color blindness. Nat Methods 2011;8:441). Yellow is left out: too light on white.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
#: Line styles go round with the colours, so that a print in gray can still be read.
LINE_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (8, 2)), "-", "-")
INK = "#1A1A1A"
GRAY = "#6B6B6B"
LIGHT_GRAY = "#C9C9C9"
PALE = "#F2F4F6"
#: The model names of a binary study keep one colour in every figure of a report.
MODEL_COLORS = {
    "combined": VERMILION, "clinical": BLUE, "radiomics": GREEN, "binary": PURPLE, "biomarkers": ORANGE,
    "joint": BLACK,
    "multi-task network": VERMILION, "single-task network": ORANGE, "single-task segmenter": SKY,
}  # fmt: skip

_FONT_FOLDER = Path(__file__).parent / "fonts"
FONT_FILES = {
    "regular": _FONT_FOLDER / "LiberationSans-Regular.ttf",
    "bold": _FONT_FOLDER / "LiberationSans-Bold.ttf",
    "italic": _FONT_FOLDER / "LiberationSans-Italic.ttf",
    "bolditalic": _FONT_FOLDER / "LiberationSans-BoldItalic.ttf",
}

#: Files of Windows, macOS and Linux packages with Chinese signs, the nicest first; none is shipped, they are large.
_CHINESE = (
    "msyh", "simhei", "hiragino sans gb", "wqy-microhei", "wqy-zenhei", "droidsansfallbackfull", "droidsansfallback",
    "notosanssc-regular", "sourcehansanssc-regular", "notosanscjk-regular", "pingfang",
)  # fmt: skip

_RC: dict[str, Any] = {
    "font.size": 7.5,
    "text.color": INK,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.6,
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "mathtext.default": "regular",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "hepacast",
    "path.simplify": True,
}

_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "hepacast"},
    "svg": {"Date": None, "Creator": "hepacast"},
}


@functools.cache
def _register_fonts() -> None:
    """Let matplotlib know the shipped font; once a process."""
    from matplotlib import font_manager

    for path in FONT_FILES.values():
        font_manager.fontManager.addfont(str(path))


@functools.cache
def families() -> list[str]:
    """The shipped font, matplotlib's for signs that it lacks, and one of this computer for Chinese where it has one."""
    from matplotlib import font_manager

    found = ["Liberation Sans", "DejaVu Sans"]
    for file in chinese_files()[:1]:
        fonts = font_manager.fontManager
        fonts.addfont(file)
        # Its one weight stands for bold as well, and no warning for each title.
        fonts.ttflist.append(replace(fonts.ttflist[-1], weight=700))
        found.append(fonts.ttflist[-1].name)
    return found


@functools.cache
def chinese_files() -> list[str]:
    """This computer's fonts with Chinese signs, the one to take first; matplotlib's own list may be of long ago."""
    from matplotlib import font_manager

    found = {Path(file).stem.casefold(): file for file in font_manager.findSystemFonts()}
    return [found[name] for name in _CHINESE if name in found]


def _apply_style(settings: Any) -> None:
    """Matplotlib's own defaults (not the reader's matplotlibrc), then the journal style."""
    import matplotlib as mpl

    mpl.rcdefaults()
    settings.update(_RC | {"font.family": families()})
    # A label is a text whatever it holds: prices and formulas of a table's headers are no formulas of a figure.
    settings["text.parse_math"] = False


#: Settings of matplotlib, and what `_glyphs_alone` does, are the whole process's: one thread draws at a time.
_DRAWING = RLock()


@contextmanager
def _journal_style() -> Iterator[None]:
    """The journal style for this thread alone; afterwards the caller's settings are as they were."""
    import matplotlib as mpl

    with _DRAWING, mpl.rc_context():
        _register_fonts()
        _apply_style(mpl.rcParams)
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the journal style and leave the caller's matplotlib settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _journal_style():
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width_mm: float, height_mm: float, *, constrained: bool = True) -> Figure:
    """An empty figure of a printed size, with its own Agg canvas.

    Parameters
    ----------
    width_mm, height_mm
        Printed size in mm; journals print one column of 85 mm or two of 174 mm.
    constrained
        Let matplotlib make room for labels; diagrams that place everything themselves say False.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH), layout="constrained" if constrained else None
    )
    FigureCanvasAgg(figure)
    return figure


def canvas_axes(figure: Figure, width: float, height: float) -> Axes:
    """Axes over the whole figure without frame, in the units given (diagrams draw in mm)."""
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return axes


def panel_letter(axes: Axes, letter: str) -> None:
    """Put (a), (b) ... above the upper left corner of a panel."""
    axes.set_title(f"({letter})", loc="left", fontweight="bold", fontsize=9, pad=5)


def colors_of(names: Sequence[str]) -> list[str]:
    """Colors of the curves of one figure: fixed for the usual models, for others what is left of the palette."""
    fixed = [_fixed_color(name) for name in names]
    free = [color for color in PALETTE if color not in fixed] or list(PALETTE)
    others = iter(range(len(names)))
    return [color or free[next(others) % len(free)] for color in fixed]


def _fixed_color(name: str) -> str | None:
    return MODEL_COLORS.get(name.lower().split(" (")[0])  # ``Clinical (Cox)`` is the clinical model


def line_style_of(position: int) -> Any:
    """The line style of the curve at this position."""
    return LINE_STYLES[position % len(LINE_STYLES)]


def save_figure(
    figure: Figure, stem: str | Path, formats: Sequence[str] = ("pdf", "svg", "png"), dpi: int = 300
) -> list[Path]:
    """Write a figure in several formats, each file whole or not at all.

    Parameters
    ----------
    figure
        The figure; its printed size is kept (nothing is cropped).
    stem
        Path without extension, for example `report/figures/figure-4a`.
    formats
        Any of "pdf" (fonts embedded as TrueType), "svg" (text as outlines), "png".
    dpi
        Resolution of PNG and of pixel parts in PDF and SVG.

    Returns
    -------
    list of Path
        The files, in the order of `formats`.
    """
    written = []
    with _journal_style():
        # Place everything once: the formats then agree, and each costs one drawing only ("none" would leave a
        # stand-in of the engine, for which savefig draws twice).
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine(None)
        for form in formats:
            target = Path(f"{stem}.{form}")
            with atomic_path(target) as temporary:
                if form == "png":
                    _save_png(figure, temporary, dpi)
                else:
                    with _glyphs_alone():
                        figure.savefig(temporary, format=form, dpi=dpi, metadata=_METADATA.get(form))
            written.append(target)
    return written


@contextmanager
def _glyphs_alone() -> Iterator[None]:
    """Fonts within a PDF are embedded without the tables by which programs lay out text.

    A PDF places each glyph by number and width and never reads them, but cutting them down to the characters of a
    figure is three quarters of what embedding its fonts costs.
    """
    from fontTools import subset

    whole = subset.load_font

    def load(*args: Any, **kwargs: Any) -> Any:
        font = whole(*args, **kwargs)
        for table in {"GDEF", "GPOS", "GSUB", "kern"} & set(font.keys()):
            del font[table]
        return font

    subset.load_font = load
    try:
        yield
    finally:
        subset.load_font = whole


def _save_png(figure: Figure, path: Path, dpi: int) -> None:
    """Write pixels without an alpha channel, as journals want them (and as PDF writers embed fastest)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    before = figure.dpi
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_dpi(before)
    buffer = canvas.buffer_rgba()
    height, width, _ = buffer.shape
    pixels = Image.frombuffer("RGBA", (width, height), buffer, "raw", "RGBA", 0, 1)
    pixels.convert("RGB").save(path, format="png", dpi=(dpi, dpi))
