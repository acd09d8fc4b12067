// SPDX-License-Identifier: GPL-2.0-or-later
// Lines over time: demand faults, and a workload's speed.

const MAX_STEPS = 240;  // that a chart of this width can show

/** A dashed line at time 0. */
const zeroLine = {
    id: "zeroLine",
    beforeDatasetsDraw({ctx, chartArea, scales}, _, {color}) {
        const x = scales.x.getPixelForValue(0);
        if (x < chartArea.left || x > chartArea.right)
            return;
        ctx.save();
        ctx.strokeStyle = color;
        ctx.setLineDash([4, 4]);
        ctx.beginPath();
        ctx.moveTo(x, chartArea.top);
        ctx.lineTo(x, chartArea.bottom);
        ctx.stroke();
        ctx.restore();
    },
};

/** @param lines [{name, slot, points: [{x: seconds, y}]}] */
function linesConfig(color, lines, {x, y, stepped}) {
    const datasets = lines.map(({name, slot, points}) => ({
        label: name, data: points, stepped, borderColor: color(slotColor(slot)), backgroundColor: color(slotColor(slot)),
        borderDash: slotDash(slot), borderWidth: 1.75, pointRadius: points.length === 1 ? 3 : 0, pointHitRadius: 6,
    }));
    return {
        type: "line", data: {datasets}, plugins: [zeroLine],
        options: {
            interaction: {mode: "nearest", axis: "x", intersect: false},
            scales: {x: axis(color, x, {type: "linear"}), y: axis(color, y, {beginAtZero: true})},
            plugins: {legend: legendOfLines(lines.length > 1), zeroLine: {color: color("faint")},
                      tooltip: {callbacks: {title: ([item]) => `${number(item.parsed.x)} s`}}},
        },
    };
}

/** A row for each time that occurs in any of the lines. */
function linesTable(lines, unit) {
    const times = [...new Set(lines.flatMap(({points}) => points.map(({x}) => x)))].toSorted((a, b) => a - b);
    const values = lines.map(({points}) => new Map(points.map(({x, y}) => [x, y])));
    return {head: ["time, s", ...lines.map(({name}) => `${name}, ${unit}`)],
            rows: times.map((at) => [number(at), ...values.map((of) => of.has(at) ? number(of.get(at)) : "")])};
}

/** Sums counts of steps into counts of wider steps; widths in ms. */
function widen(counts, step, wide) {
    const made = new Array(Math.ceil(counts.length * step / wide)).fill(0);
    counts.forEach((count, i) => {
        made[Math.min(made.length - 1, Math.floor(i * step / wide))] += count;
    });
    return made;
}

/**
 * Demand faults over time, up to the last one. A line is the mean of its rounds; a round has no faults after the end of its
 * counts.
 * @param modes [{name, slot, rounds: [{step_ms, counts}]}] each with at least one round, and at least one fault in all
 */
function faultsOverTime(modes, about) {
    const text = `${about} The chart ends with the last one.`;
    const rounds = modes.flatMap((mode) => mode.rounds);
    const step = Math.max(...rounds.map((one) => one.step_ms));
    const length = Math.max(...rounds.map((one) => one.step_ms * (1 + one.counts.findLastIndex((count) => count > 0))));
    const wide = step * Math.ceil(length / step / MAX_STEPS);
    const steps = Math.ceil(length / wide);
    const lines = modes.map((mode) => {
        const series = mode.rounds.map((one) => widen(one.counts, one.step_ms, wide));
        // Adds a point where the step after the last one would begin.
        const at = (i) => ({x: i * wide / 1000, y: mean(series.map((one) => one[i] ?? 0))});
        const points = Array.from({length: steps + 1}, (_, i) => at(i));
        return {...mode, points};
    });
    const told = lines.map(({name, points}) => {
        const most = points.reduce((best, point) => point.y > best.y ? point : best);
        return `${name}: ${number(sum(points.map(({y}) => y)))} in all, at most ${number(most.y)}, at ${number(most.x)} s`;
    });
    const unit = `demand faults per ${milliseconds(wide)}`;
    return picture({
        title: "Demand faults over time", text, label: `${told.join("; ")}.`, height: 320,
        ...linesTable(lines, `per ${milliseconds(wide)}`),
        config: (color) => linesConfig(color, lines, {x: "time since the device state arrived, s", y: unit, stepped: true}),
    });
}

/** The median of the rounds at each step that at least half of them have. @param rounds [{step_ms, from_ms, per_s}] */
function medianOverTime(rounds) {
    const step = rounds[0].step_ms;
    const found = new Map();
    for (const {step_ms, from_ms, per_s} of rounds)
        per_s.forEach((value, i) => {
            const at = Math.round((from_ms + (i + 0.5) * step_ms) / step - 0.5);
            found.set(at, [...found.get(at) ?? [], value]);
        });
    return [...found].filter(([, values]) => 2 * values.length >= rounds.length).toSorted(([a], [b]) => a - b)
        .map(([at, values]) => ({x: (at + 0.5) * step / 1000, y: median(values)}));
}

/** A workload's throughput around switch-over. @param modes as above, with rounds as for medianOverTime() */
function speedOverTime(modes, text) {
    const lines = modes.map((mode) => ({...mode, points: medianOverTime(mode.rounds)})).filter(({points}) => points.length > 0);
    if (lines.length === 0)
        return noPicture("Throughput over time", "No run tells the workload's speed.");
    const told = lines.map(({name, points}) => {
        const slowest = points.reduce((worst, point) => point.y < worst.y ? point : worst);
        return `${name}: slowest, ${number(slowest.y)} per second, at ${number(slowest.x)} s`;
    });
    return picture({
        title: "Throughput over time", text, label: `${told.join("; ")}.`, height: 320, ...linesTable(lines, "per s"),
        config: (color) => linesConfig(color, lines, {x: "time since switch-over, s", y: "operations per second"}),
    });
}
