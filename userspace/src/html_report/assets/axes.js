// SPDX-License-Identifier: GPL-2.0-or-later
// Axes, legends and tooltips shared by the charts.

function axis(color, title, more) {
    return {title: {display: true, text: title, color: color("faint")}, grid: {color: color("line"), drawBorder: false},
            ...more, ticks: {color: color("faint"), callback: (value) => number(value), ...more?.ticks}};
}

/** A logarithmic axis, in powers of ten, that starts below 1 so that a bar of 1 is visible. */
function countsByPowersOfTen(color, title, most) {
    return axis(color, title, {
        type: "logarithmic", min: 0.6, max: 1.5 * most,
        afterBuildTicks: (scale) => {
            scale.ticks = scale.ticks.filter(({value}) => Number.isInteger(Math.log10(value)));
        },
    });
}

const legend = (shown) => ({display: shown, align: "start", labels: {boxWidth: 12}});

/** A legend whose marks are lines with their dashes, which Chart.js leaves out. */
function legendOfLines(shown) {
    const labels = (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map(
        (item) => ({...item, lineDash: chart.data.datasets[item.datasetIndex].borderDash}));
    return {display: shown, align: "start", labels: {usePointStyle: true, pointStyle: "line", boxWidth: 28, generateLabels: labels}};
}

/** Modes beyond the size of the palette reuse its colours with other dashes. */
const SLOTS = 7;
const DASHES = [[], [7, 3], [2, 2]];

/** @param slot number of the mode; 0 is the reference */
const slotColor = (slot) => `mode-${slot < SLOTS ? slot : 1 + (slot - 1) % (SLOTS - 1)}`;
const slotDash = (slot) => DASHES[slot < SLOTS ? 0 : Math.floor((slot - 1) / (SLOTS - 1)) % DASHES.length];
