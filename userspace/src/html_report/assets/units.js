// SPDX-License-Identifier: GPL-2.0-or-later
// Human-readable numbers, the same in every locale.

const MICRO = "µs";

/** Integers in full, other numbers with about three digits. */
function number(value) {
    const size = Math.abs(value);
    const decimals = Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.01 ? 3 : 5;
    return new Intl.NumberFormat("en", {maximumFractionDigits: decimals}).format(value);
}

/** The value in the largest unit in which it is at least 1. @param units [[name, size in the smallest unit]], rising */
function scaled(value, units) {
    const [name, size] = units.findLast(([, each]) => Math.abs(value) >= each) ?? units[0];
    return `${number(value / size)} ${name}`;
}

const bytes = (value) => scaled(value, [["B", 1], ["KiB", 2 ** 10], ["MiB", 2 ** 20], ["GiB", 2 ** 30], ["TiB", 2 ** 40]]);
const microseconds = (value) => scaled(value, [[MICRO, 1], ["ms", 1e3], ["s", 1e6]]);
const milliseconds = (value) => value === 0 ? "0 ms" : microseconds(1000 * value);

/** A fraction of 1 as percent. */
function share(value) {
    if (value === null)
        return "–";
    const percent = new Intl.NumberFormat("en", {maximumFractionDigits: 1}).format(100 * value);
    return value > 0 && value < 0.0005 ? "< 0.1 %" : `${percent} %`;
}

/** A count with its noun; the plural adds an s. */
const several = (count, what) => `${number(count)} ${what}${count === 1 ? "" : "s"}`;

function median(values) {
    const sorted = values.toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;
