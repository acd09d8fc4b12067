// SPDX-License-Identifier: GPL-2.0-or-later
// The page of a benchmark: tables of its rows and, if it has runs, charts of them.

/** Each mode's slot of the palette, the same in the whole page. */
function slots({reference, rows, runs}) {
    const others = new Set([...rows, ...runs ?? []].map(({mode}) => mode));
    others.delete(reference);
    return new Map([[reference, 0], ...[...others].map((mode, i) => [mode, 1 + i])]);
}

const distinct = (values) => [...new Set(values)];

function cell(row, isReference) {
    if (!row)
        return "–";
    const times = (ratio) => `×${Math.abs(ratio) < 0.1 ? number(ratio) : ratio.toFixed(2)}`;
    const ratio = row.ratio !== null && !isReference ? element("span", {class: "ratio"}, times(row.ratio)) : null;
    const spread = row.n > 1 ? element("small", null, `${number(row.min)} – ${number(row.max)}`) : null;
    return [element("b", null, number(row.median)), " ", ratio, spread];
}

/** A row for each metric, a column for each mode. */
function metricsTable(data, rows, slotOf) {
    const modes = distinct(rows.map(({mode}) => mode)), sizes = distinct(rows.map(({n}) => n)).toSorted((a, b) => a - b);
    const lines = distinct(rows.map(({metric, unit}) => JSON.stringify([metric, unit]))).map((key) => {
        const [metric, unit] = JSON.parse(key);
        const of = (mode) => rows.find((row) => row.mode === mode && row.metric === metric && row.unit === unit);
        return [unit ? `${metric}, ${unit}` : metric, ...modes.map((mode) => cell(of(mode), mode === data.reference))];
    });
    const head = modes.map((mode) => [swatch(slotColor(slotOf.get(mode))), mode, mode === data.reference ? " (reference)" : ""]);
    const counted = sizes.length > 1 ? `${sizes[0]} to ${several(sizes.at(-1), "value")}` : several(sizes[0], "value");
    const ratio = data.reference && rows.some((row) => row.ratio !== null) ? `; × the ratio to the reference, ${data.reference}` : "";
    return [table(["", ...head.map((parts) => element("span", null, parts))], lines),
            element("p", {class: "note"}, `Medians of ${counted} each${ratio}; below them, minimum and maximum.`)];
}

/** The modes whose rounds have such data, and the names of those that do not. */
function having(runs, slotOf, member) {
    const modes = distinct(runs.map(({mode}) => mode)).map((mode) => ({
        name: mode, slot: slotOf.get(mode),
        rounds: runs.filter((run) => run.mode === mode && !run.error).map((run) => run[member]).filter(Boolean),
    }));
    const without = modes.filter(({rounds}) => rounds.length === 0).map(({name}) => name);
    return {modes: modes.filter(({rounds}) => rounds.length > 0), without};
}

function rounds(modes) {
    const sizes = modes.map((mode) => mode.rounds.length);
    const [min, max] = [Math.min(...sizes), Math.max(...sizes)];
    return min === max ? several(max, "round") : `${min} to ${several(max, "round")}`;
}

/** @param why the reason why a mode has no such data */
const missing = (without, why) => without.length ? ` Not of ${without.join(", ")}${why}.` : "";

const CANNOT_TELL = " (QEMU without gcctl does not tell, or no run succeeded)";

function speedPicture(runs, slotOf) {
    const {modes, without} = having(runs, slotOf, "throughput");
    return speedOverTime(modes, `Median of ${rounds(modes)} at each step; time 0 (dashes) is switch-over.${missing(without, "")}`);
}

function faultsPicture(runs, slotOf) {
    const title = "Demand faults over time";
    const {modes, without} = having(runs, slotOf, "faults");
    if (!modes.some((mode) => mode.rounds.some(({counts}) => sum(counts) > 0)))
        return noPicture(title, `${modes.length ? "There were none." : "No run tells of them."}${missing(without, CANNOT_TELL)}`);
    return faultsOverTime(modes, `Mean of ${rounds(modes)} at each step.${missing(without, CANNOT_TELL)}`);
}

function stallsPicture(runs, slotOf) {
    const {modes, without} = having(runs, slotOf, "stall_us");
    const summed = modes.map((mode) => ({...mode, counts: mode.rounds[0].map((_, i) => sum(mode.rounds.map((one) => one[i])))}));
    if (!summed.some(({counts}) => sum(counts) > 0))
        return noPicture("How long the VM waited for a page",
                         `${modes.length ? "It waited for none." : "No run tells of it."}${missing(without, CANNOT_TELL)}`);
    return stallHistogram(summed, `The demand faults of ${rounds(modes)} together.${missing(without, CANNOT_TELL)}`);
}

function bytesPicture(runs, slotOf) {
    const title = "What was sent, by class";
    const {modes, without} = having(runs, slotOf, "bytes");
    const bars = modes.map((mode) => ({
        name: mode.name, values: Object.fromEntries(CLASSES.map(({key}) => [key, mean(mode.rounds.map((one) => one[key]))])),
    }));
    if (!bars.some(({values}) => sum(Object.values(values)) > 0))
        return noPicture(title, `${modes.length ? "Nothing was." : "No run tells it."}${missing(without, CANNOT_TELL)}`);
    return classBars(bars, {
        title, text: `Mean of ${rounds(modes)}.${missing(without, CANNOT_TELL)}`, format: bytes, head: "mode",
        unit: 2 ** 20,
        axisTitle: "bytes on the wire, MiB"});
}

/** Failed runs are in no chart. */
function failures(runs) {
    const failed = runs.filter(({error}) => error);
    return failed.length === 0 ? [] : [
        element("h3", null, "Runs that failed"),
        table(["mode", "round", "error"], failed.map(({mode, round, error}) => [mode, number(round), error]), {class: "words"})];
}

function workloadSection(data, workload, id, slotOf) {
    const rows = data.rows.filter((row) => row.workload === workload);
    const made = section(id, workload, ...rows.length ? metricsTable(data, rows, slotOf) : []);
    if (data.runs) {
        const runs = data.runs.filter((run) => run.workload === workload);
        const draw = [speedPicture, faultsPicture, stallsPicture, bytesPicture];
        if (runs.length)
            made.append(element("div", {class: "pictures"}, draw.map((one) => one(runs, slotOf))), ...failures(runs));
    }
    return made;
}

function machineLine({machine, link_mbit: link}) {
    const {cpu, kernel, qemu} = machine ?? {};
    const parts = [cpu, kernel && `Linux ${kernel}`, qemu && `QEMU ${qemu}`, link !== undefined && `a link of ${number(link)} Mbit/s`];
    const virtual = machine?.virtual ? "Measured in a virtual machine: counts and ratios hold, times say little about hardware." : "";
    return element("p", {class: "note"}, `${parts.filter(Boolean).join("; ")}. ${virtual}`);
}

/** @return the elements of the page */
function benchmarkPage(data) {
    const slotOf = slots(data);
    const workloads = distinct([...data.rows, ...data.runs ?? []].map(({workload}) => workload));
    const sections = workloads.map((workload, i) => workloadSection(data, workload, `workload-${i + 1}`, slotOf));
    return [element("h1", null, `Benchmark: ${data.bench}`), data.machine || data.link_mbit ? machineLine(data) : null,
            sections.length ? contents(sections) : element("p", {class: "note"}, "It has no results."), ...sections];
}
