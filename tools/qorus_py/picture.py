# SPDX-License-Identifier: MIT
"""What the pictures of tools/plot_*.py share: matplotlib without a display, one palette, one way to fail."""
import sys

from qorus_py import packages

COLOURS = ("#3d6a9e", "#d98a3d", "#5d9e5f", "#8d6cab", "#b4534a", "#6f6f6f")
HEAT = ("#ffffff", "#d6e2ef", "#8fb1d3", "#3d6a9e", "#1d3a5f")  # of heat maps, from nothing to most


class PictureError(ValueError):
    """Something that cannot be drawn; the text says where it is wrong and what to do."""


def pyplot():
    """matplotlib.pyplot in the house style; ImportError where matplotlib is missing."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plot
    plot.rcParams.update({"axes.prop_cycle": plot.cycler(color=COLOURS), "axes.spines.top": False, "axes.spines.right": False,
                          "axes.titlesize": "medium", "font.size": 10, "savefig.dpi": 100, "svg.hashsalt": "qorus"})
    return plot


def heat():
    """The colour map of tables and matrices."""
    from matplotlib.colors import LinearSegmentedColormap
    return LinearSegmentedColormap.from_list("qorus", HEAT)


def matrix(axis, values, names, rotation=90, fontsize=9):
    """A square of values between 0 and 1, rows and columns named alike, at most 32 of the names."""
    ticks = range(0, len(names), -(-len(names) // 32))
    shown = axis.imshow(values, cmap=heat(), vmin=0, vmax=1)
    axis.set_xticks(ticks, [names[i] for i in ticks], rotation=rotation, fontsize=fontsize)
    axis.set_yticks(ticks, [names[i] for i in ticks], fontsize=fontsize)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return shown


def save(figure, path):
    """Writes the picture; the same data give the same bytes on one machine."""
    figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None)


def finish(name, draw):
    """Exit code of a script: draw() prints what it made, or fails with a line on standard error."""
    try:
        print(draw())
        return 0
    except (PictureError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"{name}: {packages.missing(error)}", file=sys.stderr)
        return 2
