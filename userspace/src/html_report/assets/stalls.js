// SPDX-License-Identifier: GPL-2.0-or-later
// How long the VM waited for pages: counts by powers of two of a microsecond, as in report/histogram.h.

/** A bucket's lower bound: 2^i us; 0 for the first. */
const bucketFrom = (i) => i === 0 ? `0 ${MICRO}` : scaled(2 ** i, [[MICRO, 1], ["ms", 2 ** 10], ["s", 2 ** 20]]);

function bucketName(i, all) {
    return i === all - 1 ? `${bucketFrom(i)} and more` : `${bucketFrom(i)} to ${bucketFrom(i + 1)}`;
}

/** @param modes [{name, slot, counts}] with at least one count above 0 */
function stallHistogram(modes, text) {
    const all = modes[0].counts.length;
    const used = Array.from({length: all}, (_, i) => i).filter((i) => modes.some(({counts}) => counts[i] > 0));
    const first = used[0], last = used.at(-1);
    const shown = Array.from({length: last - first + 1}, (_, i) => first + i);
    const most = Math.max(...modes.flatMap(({counts}) => counts));
    const told = modes.map(({name, counts}) => {
        const longest = counts.findLastIndex((count) => count > 0);
        return longest < 0 ? `${name}: none` : `${name}: ${number(sum(counts))}, the longest ${bucketName(longest, all)}`;
    });
    return picture({
        title: "How long the VM waited for a page", text, label: `${told.join("; ")}.`, height: 320,
        head: ["stall", ...modes.map(({name}) => name)],
        rows: shown.map((i) => [bucketName(i, all), ...modes.map(({counts}) => number(counts[i]))]),
        config: (color) => ({
            type: "bar",
            data: {labels: shown.map(bucketFrom),
                   datasets: modes.map(({name, slot, counts}) => ({
                       label: name, data: shown.map((i) => counts[i]), backgroundColor: color(slotColor(slot)),
                       barPercentage: 0.95,
                   }))},
            options: {
                scales: {x: axis(color, "stall, from this to twice as long", {ticks: {callback: (_, i) => bucketFrom(shown[i])}}),
                         y: countsByPowersOfTen(color, "demand faults (log scale)", most)},
                plugins: {legend: legend(modes.length > 1),
                          tooltip: {callbacks: {title: ([item]) => bucketName(shown[item.dataIndex], all)}}},
            },
        }),
    });
}
