"""Draws the pictures of docs/benchmarks.md from the summary that bench/report.sh writes.

    python3 bench/charts.py SUMMARY.csv FOLDER
"""

import csv
import pathlib
import re
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"inet": "#4c72b0", "socket": "#dd8452", "rs": "#55a868", "raw": "#8c8c8c", "c": "#333333"}
PINGPONG = re.compile(r"pingpong-(passive|once|true|packet4)-(\d+)$")


def read(path):
    """The rows in their order: name -> backend -> figures."""
    rows = {}
    with open(path, newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            figures = {key: float(value) for key, value in line.items() if key not in ("row", "unit", "backend") and value}
            rows.setdefault(line["row"], {})[line["backend"]] = figures
    return rows


def save(figure, folder, name):
    # No date and no random names: the same figures give the same file.
    matplotlib.rcParams["svg.hashsalt"] = "gen_tcp_rs"
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def ratios(rows, folder):
    """How many times better rs is than each of the others, with the quartiles as whiskers."""
    names = [name for name, backends in rows.items() if any("ratio" in backends.get(other, {}) for other in ("inet", "socket"))]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(names) + 1))
    for offset, other in ((-0.2, "inet"), (0.2, "socket")):
        present = [(place, rows[name][other]) for place, name in enumerate(names) if "ratio" in rows[name].get(other, {})]
        middle = [figures["ratio"] for _, figures in present]
        whiskers = [
            [max(0, figures["ratio"] - figures["ratio_low"]) for _, figures in present],
            [max(0, figures["ratio_high"] - figures["ratio"]) for _, figures in present],
        ]
        axes.barh([place + offset for place, _ in present], [value - 1 for value in middle], 0.38, left=1, xerr=whiskers,
                  color=COLOURS[other], label=f"against {other}", error_kw={"elinewidth": 0.8, "capsize": 2})
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16, 32])
    axes.get_xaxis().set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g×"))
    axes.get_xaxis().set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("rs is so many times better (median of the rounds; whiskers: quartiles)")
    axes.grid(axis="x", linewidth=0.3)
    axes.legend(loc="lower right")
    save(figure, folder, "ratios")


def latencies(rows, folder):
    """p50 and p99 of the rows that wait for an answer."""
    names = [name for name, backends in rows.items()
             if "p99" in backends.get("rs", {}) and re.match(r"pingpong|far|same|request|connect|accept", name)]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(names) + 1))
    for offset, backend in ((-0.25, "inet"), (0, "socket"), (0.25, "rs")):
        for place, name in enumerate(names):
            figures = rows[name].get(backend, {})
            if "p99" in figures:
                axes.plot([figures["p50"], figures["p99"]], [place + offset] * 2, color=COLOURS[backend], linewidth=1,
                          marker="|", label=backend if place == 0 else None)
                axes.plot([figures["p50"]], [place + offset], color=COLOURS[backend], marker="o", markersize=3)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("µs an operation: median (dot) to 99th percentile (bar)")
    axes.grid(axis="x", linewidth=0.3)
    axes.legend(loc="upper right")
    save(figure, folder, "latencies")


def connections(rows, folder):
    """What an operation costs against the number of connections."""
    found = {}
    for name, backends in rows.items():
        match = PINGPONG.match(name)
        if match:
            for backend in ("inet", "socket", "rs"):
                if "cpu" in backends.get(backend, {}):
                    found.setdefault(match[1], {}).setdefault(backend, []).append((int(match[2]), backends[backend]["cpu"]))
    if not found:
        return
    figure, all_axes = plt.subplots(1, len(found), figsize=(3 * len(found), 3), sharey=True, squeeze=False)
    for axes, (mode, series) in zip(all_axes[0], found.items()):
        for backend, points in series.items():
            axes.plot(*zip(*sorted(points)), marker="o", markersize=3, color=COLOURS[backend], label=backend)
        axes.set_xscale("log")
        axes.set_title(mode, fontsize=9)
        axes.set_xlabel("connections")
        axes.grid(linewidth=0.3)
    all_axes[0][0].set_ylim(bottom=0)
    all_axes[0][0].set_ylabel("µs of processor a round trip, both ends")
    all_axes[0][0].legend()
    save(figure, folder, "connections")


def main():
    rows = read(sys.argv[1])
    folder = pathlib.Path(sys.argv[2])
    for draw in (ratios, latencies, connections):
        draw(rows, folder)


main()
