"""The timeline as SVG: colours by class, so that the style sheet decides; every bar says in words what it is."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from switchover.interfaces.console.timeline import Lane, Span
from switchover.reports.texts import elapsed

_WIDTH = 1_200
_LABELS = 150
_LANE = 20
_AXIS = 24
_CROWD = 90
_BUCKETS = 300
_TICKS = 8
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)

_SVG = Markup('<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{content}</svg>')
_BAR = Markup(
    '<rect class="{tone}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="3"><title>{text}</title></rect>'
)
_TEXT = Markup('<text x="{x:.1f}" y="{y}"{anchor}>{text}</text>')
_AXIS_TEXT = Markup('<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>')
_LINE = Markup('<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
_AREA = Markup('<path class="area" d="{path}"/>')


class _Scale:
    """Where an instant lies on the paper."""

    def __init__(self, lanes: Sequence[Lane], now: datetime) -> None:
        self.start = min(lane.spans[0].started for lane in lanes)
        self.end = max(max(_end(span, now) for span in lane.spans) for lane in lanes)
        self.seconds = max((self.end - self.start).total_seconds(), 0.001)

    def x(self, at: datetime) -> float:
        return _LABELS + (at - self.start).total_seconds() / self.seconds * (_WIDTH - _LABELS - 10)

    def ticks(self, top: int, bottom: int) -> list[Markup]:
        step = next((step for step in _STEPS if self.seconds / step <= _TICKS), _STEPS[-1])
        at = self.start.replace(microsecond=0) + timedelta(seconds=1)
        at += timedelta(seconds=-int(at.timestamp()) % step)
        marks: list[Markup] = []
        while at <= self.end:
            marks.append(_LINE.format(x=self.x(at), top=top, bottom=bottom))
            marks.append(_AXIS_TEXT.format(x=self.x(at), y=bottom + 15, text=f"{at:%H:%M:%S}"))
            at += timedelta(seconds=step)
        return marks


def draw_lanes(lanes: Sequence[Lane], now: datetime) -> Markup:
    """One lane a tenant; ``lanes`` must have some."""
    scale = _Scale(lanes, now)
    bottom = len(lanes) * _LANE + 4
    content = scale.ticks(0, bottom)
    for number, lane in enumerate(lanes):
        y = number * _LANE + 4
        content.append(_TEXT.format(x=4, y=y + 12, anchor="", text=_short(lane.tenant_id)))
        for span in lane.spans:
            x, end = scale.x(span.started), scale.x(_end(span, now))
            width = max(end - x, 1.5)
            content.append(
                _BAR.format(tone=span.tone, x=x, y=y, width=width, height=_LANE - 5, text=_said(lane, span, now))
            )
    label = f"Time line of {len(lanes)} tenants"
    return _SVG.format(width=_WIDTH, height=bottom + _AXIS, label=label, content=Markup("").join(content))


def draw_crowd(lanes: Sequence[Lane], now: datetime) -> Markup:
    """How many tenants ran a stage at once, over the whole plan; ``lanes`` must have some."""
    scale = _Scale(lanes, now)
    changes: list[tuple[float, int]] = []
    for lane in lanes:
        for span in lane.spans:
            changes += [(scale.x(span.started), 1), (scale.x(_end(span, now)), -1)]
    highest = [0] * _BUCKETS
    per_bucket = (_WIDTH - _LABELS - 10) / _BUCKETS
    running, bucket = 0, 0
    for x, change in sorted(changes):
        place = min(int((x - _LABELS) / per_bucket), _BUCKETS - 1)
        while bucket < place:
            bucket += 1
            highest[bucket] = running
        running += change
        highest[bucket] = max(highest[bucket], running)
    most = max(*highest, 1)
    points = [f"M {_LABELS} {_CROWD}"]
    for number, value in enumerate(highest):
        y = _CROWD - value / most * (_CROWD - 14)
        points.append(
            f"L {_LABELS + number * per_bucket:.1f} {y:.1f} L {_LABELS + (number + 1) * per_bucket:.1f} {y:.1f}"
        )
    points.append(f"L {_WIDTH - 10} {_CROWD} Z")
    content = [
        *scale.ticks(0, _CROWD),
        _AREA.format(path=" ".join(points)),
        _TEXT.format(x=4, y=18, anchor="", text=f"{most:,} at most"),
    ]
    label = f"At most {most} tenants ran a stage at once"
    return _SVG.format(width=_WIDTH, height=_CROWD + _AXIS, label=label, content=Markup("").join(content))


def _end(span: Span, now: datetime) -> datetime:
    return max(now, span.started) if span.ended is None else span.ended


def _said(lane: Lane, span: Span, now: datetime) -> str:
    doing = "restoring " if span.restoring else ""
    length = elapsed((_end(span, now) - span.started).total_seconds())
    return f"{lane.tenant_id}: {doing}{span.stage}, {span.tone}, {length} from {span.started:%H:%M:%S}"


def _short(text: str) -> str:
    most = 20
    return text if len(text) <= most else text[: most - 1] + "…"
