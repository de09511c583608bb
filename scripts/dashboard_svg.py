"""Panels as SVG: what scripts/render-dashboards draws. Plain shapes and text, so that a picture's difference can be read."""

import datetime
import html
import math

# A column and a row of Grafana's grid of 24 columns, in pixels.
COLUMN, ROW, GAP, HEAD = 60, 30, 6, 56
PALETTE = ["#3274d9", "#e0752d", "#299c46", "#d44a3a", "#8f3bb8", "#c69b06", "#0a7c8c", "#b0397c", "#6b6b6b", "#5a8f29"]
# Lines that a legend names.
NAMED = 5


def text(x, y, words, size=11, color="#333", anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{html.escape(str(words))}</text>"
    )


def shown(value, unit):
    """A number as Grafana writes it in this unit."""
    if unit == "dateTimeAsIso":
        return datetime.datetime.fromtimestamp(value / 1000, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    if unit == "dateTimeFromNow":
        ago = datetime.datetime.now(datetime.timezone.utc).timestamp() - value / 1000
        return f"{shown(ago, 's')} ago"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.3g} s"
    suffix = {"cps": "/s", "bytes": "B", "Bps": "B/s"}.get(unit, "")
    base = 1024 if unit in ("bytes", "Bps") else 1000
    names = ["", "Ki", "Mi", "Gi", "Ti"] if base == 1024 else ["", "k", "M", "G", "T"]
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value, power = value / base, power + 1
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number} {names[power]}{suffix}".strip()


def ticks(low, high, unit, count=4):
    """Round numbers from below `low` to above `high`."""
    step = max((high - low) / count, 1e-9)
    if unit in ("bytes", "Bps"):
        step = 2 ** math.ceil(math.log2(step))
    else:
        size = 10 ** math.floor(math.log10(step))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= step * 0.999)
    first = math.floor(low / step)
    return [step * place for place in range(first, math.ceil(high / step - 1e-9) + 1)]


def lines(series, width, height, unit, span, is_bars, is_points, floor, is_stacked):
    values = [value for _, points in series for _, value in points]
    if is_stacked:
        at_once = {}
        for _, points in series:
            for at, value in points:
                at_once[at] = at_once.get(at, 0) + value
        values = [0, *at_once.values()]
    low, high = min([*values, floor] if floor is not None else values), max(values)
    marks = ticks(low, high if high > low else low + 1, unit)
    low, high = marks[0], marks[-1]
    left, top, right, bottom = 64 if unit != "dateTimeAsIso" else 130, 30, width - 10, height - 34
    begin, end = span

    def x(at):
        return left + (right - left) * (at - begin) / (end - begin)

    def y(value):
        return bottom - (bottom - top) * (value - low) / (high - low)

    out = []
    for mark in marks:
        out.append(f'<line x1="{left}" y1="{y(mark):.1f}" x2="{right}" y2="{y(mark):.1f}" stroke="#e4e4e4"/>')
        out.append(text(left - 5, y(mark) + 4, shown(mark, unit), 10, "#666", "end"))
    pattern = "%H:%M" if end - begin < 86400 else "%m-%d %H:%M"
    for place in range(1, 4):
        at = begin + (end - begin) * place / 4
        out.append(text(x(at), bottom + 13, datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime(pattern), 10, "#666", "middle"))
    below = {}
    for number, (_, points) in enumerate(series):
        color = PALETTE[number % len(PALETTE)]
        if is_bars:
            thick = max(1.0, (right - left) / 60 - 1)
            out += [
                f'<rect x="{x(at):.1f}" y="{y(value):.1f}" width="{thick:.1f}" height="{y(low) - y(value):.1f}" fill="{color}"/>'
                for at, value in points
            ]
        elif is_points:
            out += [f'<circle cx="{x(at):.1f}" cy="{y(value) - 4 * number:.1f}" r="1.5" fill="{color}"/>' for at, value in points]
        elif is_stacked:
            upper = [(at, below.get(at, 0) + value) for at, value in points]
            edge = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in upper)
            lower = " ".join(f"{x(at):.1f},{y(below.get(at, 0)):.1f}" for at, _ in reversed(points))
            out.append(f'<polygon points="{edge} {lower}" fill="{color}" fill-opacity="0.6"/>')
            below.update(upper)
        else:
            path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
            out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.4"/>')
    return out + legend(series, left, height - 8, right)


def legend(series, left, y, right):
    out, x = [], float(left)
    for number, (name, _) in enumerate(series[:NAMED]):
        name = name if len(name) <= 30 else name[:29] + "…"
        rest = 80 if number + 1 < len(series) else 0
        if x + 14 + 6 * len(name) + rest > right:
            return out + [text(x, y, f"and {len(series) - number} more", 10, "#666")]
        out.append(f'<rect x="{x:.1f}" y="{y - 5}" width="10" height="3" fill="{PALETTE[number % len(PALETTE)]}"/>')
        out.append(text(x + 14, y, name, 10))
        x += 26 + 5.6 * len(name)
    if len(series) > NAMED:
        out.append(text(x, y, f"and {len(series) - NAMED} more", 10, "#666"))
    return out


def stat(series, width, height, unit):
    values = [(name, points[-1][1]) for name, points in series]
    if len(values) == 1:
        words = shown(values[0][1], unit)
        return [text(width / 2, height / 2 + 22, words, 26 if len(words) < 14 else 17, "#1f60c4", "middle", "bold")]
    out = []
    for number, (name, value) in enumerate(values[:4]):
        out.append(text(14, 50 + 22 * number, name, 12))
        out.append(text(width - 14, 50 + 22 * number, shown(value, unit), 15, "#1f60c4", "end", "bold"))
    return out


def table(rows, width, height):
    """Columns as wide as their words ask for."""
    fits = int((height - 52) / 17)
    head, body = rows[0], rows[1 : 1 + fits]
    asked = [max(len(row[place]) for row in [head, *body]) + 2 for place in range(len(head))]
    share = (width - 20) / sum(asked)
    out, x = [], 10.0
    for place, name in enumerate(head):
        room = asked[place] * share
        most = max(3, int(room / 6))
        out.append(text(x, 46, name[:most], 10, "#666", weight="bold"))
        for number, row in enumerate(body):
            words = row[place] if len(row[place]) <= most else row[place][: most - 1] + "…"
            out.append(text(x, 63 + 17 * number, words, 11))
        x += room
    return out


def bars(rows, width, height):
    numbers = [float(row[1]) for row in rows[1:]]
    left, top, right, bottom = 20, 40, width - 20, height - 30
    step = (right - left) / len(numbers)
    out = []
    for number, (name, value) in enumerate(zip((row[0] for row in rows[1:]), numbers)):
        x, tall = left + step * number, (bottom - top) * value / max(numbers)
        out.append(f'<rect x="{x + 4:.1f}" y="{bottom - tall:.1f}" width="{step - 8:.1f}" height="{tall:.1f}" fill="{PALETTE[0]}"/>')
        out.append(text(x + step / 2, bottom - tall - 4, shown(value, "short"), 10, "#333", "middle"))
        out.append(text(x + step / 2, bottom + 15, name, 11, "#333", "middle"))
    return out


def panel(described, series, rows, span):
    """One panel at its place."""
    place = described["gridPos"]
    x, y = place["x"] * COLUMN + GAP, place["y"] * ROW + HEAD
    width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
    if described["type"] == "row":
        return f'<g transform="translate({x},{y})">{text(2, 18, described["title"], 15, "#111", weight="bold")}</g>'
    defaults = described["fieldConfig"]["defaults"]
    custom, unit = defaults.get("custom", {}), defaults.get("unit", "")
    inside = [f'<rect width="{width}" height="{height}" rx="3" fill="#fff" stroke="#d8d8d8"/>', text(10, 19, described["title"], 13, "#111", weight="bold")]
    if not series and not rows:
        inside.append(text(width / 2, height / 2 + 10, "no data", 14, "#b00", "middle"))
    elif described["type"] == "stat":
        inside += stat(series, width, height, unit)
    elif described["type"] == "table":
        inside += table(rows, width, height)
    elif described["type"] == "barchart":
        inside += bars(rows, width, height)
    else:
        style = custom.get("drawStyle", "line")
        is_stacked = custom.get("stacking", {}).get("mode") == "normal"
        inside += lines(series, width, height, unit, span, style == "bars", style == "points", defaults.get("min"), is_stacked)
    return f'<g transform="translate({x},{y})"><title>{html.escape(described["description"])}</title>{"".join(inside)}</g>'


def page(dashboard, pictures):
    """A dashboard."""
    width = 24 * COLUMN + GAP
    height = HEAD + ROW * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) + GAP
    head = text(GAP + 2, 24, dashboard["title"], 19, "#111", weight="bold") + text(GAP + 2, 44, dashboard["description"], 13, "#555")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Inter, Helvetica, Arial, sans-serif">\n<rect width="{width}" height="{height}" fill="#f4f5f5"/>\n{head}\n'
        + "\n".join(pictures)
        + "\n</svg>\n"
    )
