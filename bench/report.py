"""Tables for the terminal and for a markdown file, and a plot."""


def human(v, unit=""):
    if unit == "IOPS":
        return f"{v / 1e6:.2f} M" if v >= 1e6 else f"{v / 1e3:.1f} k"
    if unit == "B/s":
        return f"{v / 1e9:.2f} GB/s"
    return f"{v:.2f}" if v < 100 else f"{v:.0f}"


class Report:
    def __init__(self):
        self.lines = []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def heading(self, text):
        self.say()
        self.say(f"## {text}")
        self.say()

    def table(self, head, rows):
        width = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
        for k, row in enumerate([head, *rows]):
            self.say("| " + " | ".join(str(c).ljust(w) for c, w in zip(row, width)) + " |")
            if k == 0:
                self.say("|" + "|".join("-" * (w + 2) for w in width) + "|")

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.lines) + "\n")


def plot(path, title, across, series):
    """series: [(name, unit, colour, [(x, y)])]; each has an axis of its own, one chart below the other."""
    wide, high, left, top = 640, 200, 70, 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{(high + 70) * len(series) + 40}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{wide / 2}" y="22" text-anchor="middle" font-size="15">{title}</text>']
    for k, (name, unit, colour, points) in enumerate(series):
        y0 = top + 20 + k * (high + 70)
        x_most = max(x for x, _ in points)
        y_most = max(max(y for _, y in points), 1e-9) * 1.1

        def at(x, y, y0=y0, x_most=x_most, y_most=y_most):
            return left + x / x_most * (wide - left - 30), y0 + high - y / y_most * high
        out.append(f'<text x="{left}" y="{y0 - 8}" fill="{colour}">{name} ({unit})</text>')
        for i in range(5):
            v = y_most * i / 4
            _, y = at(0, v)
            out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{wide - 30}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{v:.3g}</text>')
        out.append('<polyline fill="none" stroke-width="2" stroke="%s" points="%s"/>' % (
            colour, " ".join("%.1f,%.1f" % at(x, y) for x, y in points)))
        for x, y in points:
            px, py = at(x, y)
            out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
            if x >= x_most / 20 or x == points[0][0]:
                out.append(f'<text x="{px:.1f}" y="{y0 + high + 16}" text-anchor="middle">{x}</text>')
        out.append(f'<text x="{wide / 2}" y="{y0 + high + 34}" text-anchor="middle">{across}</text>')
    out.append("</svg>")
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")
