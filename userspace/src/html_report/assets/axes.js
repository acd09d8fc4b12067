// SPDX-License-Identifier: GPL-2.0-or-later
// What the pictures' axes, legends and tooltips have in common.

function axis(color, title, more) {
    return {title: {display: true, text: title, color: color("faint")}, grid: {color: color("line"), drawBorder: false},
            ...more, ticks: {color: color("faint"), callback: (value) => number(value), ...more?.ticks}};
}

/** Whole powers of ten, from below 1 so that a bar of 1 is seen. */
function countsByPowersOfTen(color, title, most) {
    return axis(color, title, {
        type: "logarithmic", min: 0.6, max: 1.5 * most,
        afterBuildTicks: (scale) => {
            scale.ticks = scale.ticks.filter(({value}) => Number.isInteger(Math.log10(value)));
        },
    });
}

const legend = (shown) => ({display: shown, align: "start", labels: {boxWidth: 12}});

/** Its marks are lines, with their dashes, which Chart.js leaves out of such marks. */
function legendOfLines(shown) {
    const labels = (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map(
        (item) => ({...item, lineDash: chart.data.datasets[item.datasetIndex].borderDash}));
    return {display: shown, align: "start", labels: {usePointStyle: true, pointStyle: "line", boxWidth: 28, generateLabels: labels}};
}

/** Modes beyond the palette's come in the same colours again, in other dashes. */
const SLOTS = 7;
const DASHES = [[], [7, 3], [2, 2]];

/** @param slot a mode's number; 0 is the reference */
const slotColor = (slot) => `mode-${slot < SLOTS ? slot : 1 + (slot - 1) % (SLOTS - 1)}`;
const slotDash = (slot) => DASHES[slot < SLOTS ? 0 : Math.floor((slot - 1) / (SLOTS - 1)) % DASHES.length];
