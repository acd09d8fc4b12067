// SPDX-License-Identifier: GPL-2.0-or-later
// The classes of pages.

/** The classes of pages, in the order of their bars: {key: name, also the member of the data; color}. */
const CLASSES = JSON.parse(document.getElementById("classes").textContent).map((key, i) => ({key, color: `class-${i}`}));

/**
 * Bars of what was sent, by class of page.
 * @param bars [{name, values: {urgent: ...}}]
 * @param format formats a value
 * @param unit of the axis, in units of the values
 */
function classBars(bars, {title, text, format, unit, axisTitle, head}) {
    const parts = (values) => CLASSES.map(({key}) => `${key} ${format(values[key])}`).join(", ");
    const told = bars.map(({name, values}) => `${name}: ${parts(values)}`);
    return picture({
        title, text, label: `${told.join("; ")}.`, height: 110 + 34 * bars.length,
        head: [head, ...CLASSES.map(({key}) => key)],
        rows: bars.map(({name, values}) => [name, ...CLASSES.map(({key}) => format(values[key]))]),
        config: (color) => ({
            type: "bar",
            data: {labels: bars.map(({name}) => name),
                   datasets: CLASSES.map(({key, color: name}) => ({
                       label: key, data: bars.map(({values}) => values[key] / unit), backgroundColor: color(name),
                       borderColor: color("surface"), borderWidth: {right: 1}, maxBarThickness: 24,
                   }))},
            options: {
                indexAxis: "y",
                scales: {x: axis(color, axisTitle, {stacked: true}),
                         y: {stacked: true, grid: {display: false, drawBorder: false}, ticks: {color: color("ink")}}},
                plugins: {legend: legend(true),
                          tooltip: {callbacks: {label: ({dataset, raw}) => `${dataset.label}: ${format(raw * unit)}`}}},
            },
        }),
    });
}
