"""Draw a chart with two axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from airflow_slo_provider.charts import svg
from airflow_slo_provider.charts.axes import Scale, nice_ticks, number_labels
from airflow_slo_provider.charts.markup import Html

#: Margins.
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 14.0, 26.0
Ticks = Sequence[tuple[float, str]]


@dataclass
class Plot:
    """A chart with two axes.

    :param title: description of the chart for screen readers
    :param x_range: range of the horizontal axis
    :param y_range: range of the vertical axis
    :param x_label: label of the horizontal axis
    :param y_label: label of the vertical axis
    :param x_ticks: values of the horizontal axis with their labels; round numbers by default
    :param y_ticks: those of the vertical axis
    :param width: width of the picture in pixels
    :param height: height of the picture in pixels
    """

    title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    x_ticks: Ticks | None = None
    y_ticks: Ticks | None = None
    width: float = 420.0
    height: float = 300.0
    _parts: list[Html] = field(default_factory=list)

    @property
    def x(self) -> Scale:
        """The scale of the horizontal axis."""
        return Scale(*self.x_range, LEFT, self.width - RIGHT)

    @property
    def y(self) -> Scale:
        """The scale of the vertical axis."""
        return Scale(*self.y_range, self.height - BOTTOM - (14 if self.x_label else 0), TOP)

    def line(self, kind: str, points: Iterable[tuple[float, float]]) -> None:
        """Draw a line of a CSS class through points; a single point is drawn as a dot."""
        at = self._coordinates(points)
        self._parts.append(svg.dot(f"dot {kind}", *at[0], 2.5) if len(at) == 1 else svg.curve(kind, at))

    def dots(self, kind: str, points: Iterable[tuple[float, float]], radius: float) -> None:
        """Draw points."""
        self._parts.extend(svg.dot(kind, *at, radius) for at in self._coordinates(points))

    def level(self, tone: str, value: float, name: str) -> None:
        """Draw a horizontal line with its name."""
        right, y = self.width - RIGHT, self.y(value)
        self._parts += [svg.line(f"level {tone}", LEFT, y, right, y), svg.label(f"note end {tone}", right - 2, y - 4, name)]

    def event(self, tone: str, value: float, name: str) -> None:
        """Draw a vertical line with its name."""
        x = self.x(value)
        self._parts += [svg.line(f"event {tone}", x, TOP, x, self.y.first), svg.label(f"note middle {tone}", x, TOP - 3, name)]

    def draw(self, *, kind: str = "chart", **attributes: object) -> Html:
        """Return the chart as SVG.

        :param kind: CSS class of the picture
        :param attributes: further attributes of the picture
        """
        x, y = self.x, self.y
        frame = []
        for value, name in self.y_ticks or _labels_within(self.y_range):
            frame.append(svg.line("grid", LEFT, y(value), x.last, y(value)))
            frame.append(svg.label("axis end", LEFT - 6, y(value) + 4, name))
        for value, name in self.x_ticks or _labels_within(self.x_range):
            frame.append(svg.label("axis middle", x(value), y.first + 18, name))
        if self.x_label:
            frame.append(svg.label("axis middle", (x.first + x.last) / 2, self.height - 6, self.x_label))
            frame.append(svg.label("axis", LEFT, TOP - 4, self.y_label))
        return svg.picture(self.title, (self.width, self.height), [*frame, *self._parts], kind=kind, **attributes)

    def _coordinates(self, points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(self.x(x), self.y(y)) for x, y in points]


def _labels_within(between: tuple[float, float]) -> Ticks:
    return number_labels([tick for tick in nice_ticks(*between) if between[0] <= tick <= between[1]])
