// SPDX-License-Identifier: GPL-2.0-or-later
// The page of one migration: "guidecopy.report/1". Members that later versions of gcctl added may be missing.

const MODES = {guide: "guide-copy", postcopy: "post-copy"};

function headline(data) {
    const {demand} = data;
    const figures = [
        ["result", data.result], ["mode", MODES[data.mode] ?? data.mode], ["downtime", milliseconds(data.downtime_ms)],
        ["total time", milliseconds(data.total_ms)], ["sent", bytes(data.bytes.total)], ["demand faults", number(demand.faults)],
        ["stalled, together", milliseconds(demand.stall_ms)], ["stall p50, at most", microseconds(demand.p50_us)],
        ["p99, at most", microseconds(demand.p99_us)], ["p99.9, at most", microseconds(demand.p999_us)],
        ...demand.local ? [["faults on zeros, answered at the destination", number(demand.local)],
                           ["stalled for these, together", milliseconds(demand.local_ms)]] : [],
        ...data.compress?.bytes ? [["saved by compression", bytes(data.compress.bytes - data.compress.sent)],
                                   ["CPU time to compress", milliseconds(data.compress.cpu_ms)]] : [],
    ];
    return element("dl", {class: "tiles"},
                   figures.map(([name, value]) => element("div", null, element("dt", null, name), element("dd", null, value))));
}

function sent(data) {
    const {pages, bytes: size, measured} = data;
    const part = (value, of) => of === 0 ? "–" : share(value / of);
    const row = (name, key) => [name, number(pages[key] ?? 0), part(pages[key] ?? 0, pages.total), bytes(size[key] ?? 0),
                                part(size[key] ?? 0, size.total), ...measured ? [number(measured.touched[key] ?? 0)] : []];
    const rows = CLASSES.map(({key, color}) => row([swatch(color), key], key));
    const head = ["sent as", "pages", "share", "bytes on the wire", "share", ...measured ? ["touched at the destination"] : []];
    const numbers = table(head, [...rows, row("total", "total"), row("of these, zero pages", "zero"),
                                ...data.zeros?.pages ? [["of these, told in runs", number(data.zeros.pages), part(data.zeros.pages, pages.total),
                                                         "–", "–", ...measured ? ["–"] : []]] : []]);
    const bars = [["pages", pages], ["bytes", size]].filter(([, of]) => of.total > 0).map(([name, of]) => ({
        name, values: Object.fromEntries(CLASSES.map(({key}) => [key, 100 * (of[key] ?? 0) / of.total])),
    }));
    const title = "What was sent, by class";
    return {numbers, picture: bars.length === 0 ? noPicture(title, "No page was sent.") : classBars(bars, {
        title, text: "Shares of all pages, and of all bytes on the wire.", format: (value) => share(value / 100), head: "of all",
        unit: 1, axisTitle: "share, %"})};
}

function waits({demand}) {
    const waited = "From the request, at the destination's host, to the page in the hands of its QEMU.";
    const histogram = sum(demand.histogram_us) === 0
        ? noPicture("How long the VM waited for a page", "It waited for none.")
        : stallHistogram([{name: "demand faults", slot: 1, counts: demand.histogram_us}], waited);
    const title = "Demand faults over time";
    const why = !demand.timeline ? "This report does not tell when they were: it is of an older gcctl."
        : sum(demand.timeline.counts) === 0 ? "There were none." : null;
    return [histogram, why ? noPicture(title, why)
        : faultsOverTime([{name: "demand faults", slot: 1, rounds: [demand.timeline]}],
                         "Pages that the VM asked for, from the moment that its device state was there.")];
}

function facts(rows) {
    return table(null, rows.filter(([, value]) => ![null, undefined, "", false].includes(value)), {class: "words"});
}

function guideTable({guide, capture}) {
    const {sent: told, mirror: shown} = guide;
    const kinds = told && ["arp", "ipv4", "ipv6", "other"].filter((kind) => told[kind] > 0)
        .map((kind) => `${number(told[kind])} ${kind}`);
    return facts([
        ["ended", guide.reason ? `${guide.ended}: ${guide.reason}` : guide.ended], ["capture", capture],
        ...!guide.started ? [["started", "no"]] : [
            ["its device state loaded in", guide.load_ms === undefined ? null : milliseconds(guide.load_ms)],
            ["the VM waited for it", guide.waited_ms === undefined ? null : milliseconds(guide.waited_ms)],
            ["first touches recorded", number(guide.records)], ["pages sent because it touched them", number(guide.pushed)],
            ["records lost", number(guide.dropped)], ["waited for room in the ring", milliseconds(guide.blocked_ms)],
            ["memory at most", guide.memory_bytes === undefined ? null : bytes(guide.memory_bytes)],
            ["packets into its quarantine", told && `${number(told.packets)} (${[bytes(told.bytes), ...kinds].join(", ")})`],
            ["dropped by", told && told.dropped_by],
            ["was shown of the VM's packets", shown && shown.on && `${number(shown.packets)}, ${number(shown.dropped)} dropped`],
            ["connections in step", shown && shown.on &&
                `${number(shown.in_step)} of ${number(shown.connections)}, ${number(shown.dead)} dead`],
            ["not shown", shown && shown.reason],
        ],
    ]);
}

function precopyTable({precopy}) {
    if (!precopy || precopy.ended === "off")
        return null;
    const rounds = precopy.rounds_ms.map((begun, i) => [number(i + 1), milliseconds(begun), bytes(precopy.remaining_bytes[i])]);
    const ended = facts([["ended, as", precopy.ended]]);
    return rounds.length === 0 ? [ended] : [ended, table(["round", "began after", "to send then"], rounds)];
}

function hotTable({hot}) {
    return hot && facts([["taken from", hot.from], ["pages", number(hot.pages)], ["none, as", hot.reason]]);
}

function forwardTable({forward}) {
    return forward && facts([
        ["of NICs", forward.on && number(forward.nics)],
        ["packets sent after the VM", forward.on && `${number(forward.packets)} (${bytes(forward.bytes)})`],
        ["given to its NICs", forward.on && number(forward.delivered)],
        ["dropped", forward.on && number(forward.dropped + forward.refused)], ["not sent", forward.reason],
    ]);
}

function nextTable({next}) {
    return next && facts([["pages after each", next.pages === 0 ? "none" : number(next.pages)], ["sent ahead", number(next.sent)]]);
}

function policyTables({policy}) {
    const named = facts([["policy", policy.name], ["program", policy.object], ["NIC", policy.device],
                         ["there before", policy.device && (policy.joined ? "yes" : "no")], ["note", policy.reason]]);
    if (!policy.device)
        return [named];
    const known = CLASSES.filter(({key}) => key in policy.classes);
    const others = Object.keys(policy.classes).filter((key) => !known.some((one) => one.key === key));
    const row = (name, counts) => [name, number(counts.packets), bytes(counts.bytes), number(counts.drops), number(counts.delayed),
                                   counts.delayed === 0 ? "–" : milliseconds(counts.delay_ms / counts.delayed),
                                   milliseconds(counts.delay_max_ms)];
    const rows = [...known.map(({key, color}) => row([swatch(color), key], policy.classes[key])),
                  ...others.map((key) => row(key, policy.classes[key])), row("tenants", policy.tenants)];
    return [named, table(["on the NIC", "packets", "bytes", "dropped", "held back", "for, on average", "at most"], rows)];
}

function securityFacts({security}) {
    if (!security || security.protection === "none")
        return [];
    const said = {tls: security.cipher, loopback: "in clear, on the loopback", insecure: "in clear (--insecure)"};
    return [["on the network", said[security.protection]], ["the destination proved to be", security.peer || null]];
}

function measuredTable({measured}) {
    return measured && facts([
        ["measured for", milliseconds(measured.time_ms)],
        ["coverage", share(measured.coverage)], ["accuracy", share(measured.accuracy)],
        ["waste", bytes(measured.waste_bytes)], ["pages touched", number(measured.touched.total)],
        ["of these asked for", number(measured.asked)], ["touches of no known page", number(measured.unresolved)],
    ]);
}

function simulatedTable({simulated}) {
    return simulated && facts([
        ["what is on this page", "was computed from a trace: no VM was moved"], ["trace", simulated.trace],
        ["of it, from switch-over on", milliseconds(simulated.trace_ms)],
        ["link", `${number(simulated.link * 8e-9)} Gbit/s, round trip ${microseconds(simulated.rtt_us)}`],
        ["VMs that left at once", number(simulated.vms)], ["vCPUs, together", number(simulated.vcpus)],
        ["memory of each", bytes(simulated.memory_bytes)], ["pages that each touches", number(simulated.touched)],
        ["vCPUs waited, together", milliseconds(simulated.waited_ms)],
    ]);
}

/** @return the elements of the page */
function migrationPage(data) {
    const classes = sent(data);
    const [histogram, faults] = waits(data);
    const precopy = precopyTable(data), next = nextTable(data), hot = hotTable(data), measured = measuredTable(data);
    const simulated = simulatedTable(data);
    const sections = [
        simulated ? section("simulated", "Simulated", simulated) : null,
        section("sent", "Pages and bytes", classes.numbers, element("div", {class: "pictures one"}, classes.picture)),
        precopy ? section("precopy", "Pre-copy", precopy) : null,
        section("waits", "What the VM waited for", element("div", {class: "pictures"}, histogram, faults)),
        section("guide", measured ? "Guide, and how good it was" : "Guide",
                element("div", {class: "tables"}, guideTable(data), measured)),
        data.forward ? section("forward", "Packets that arrived while the VM stood still", forwardTable(data)) : null,
        next ? section("next", "Next to demand faults", next) : null,
        hot ? section("hot", "Hot set", hot) : null,
        data.policy ? section("policy", "Traffic policy", policyTables(data)) : null,
        section("hosts", "Hosts", facts([...securityFacts(data), ["source's QEMU", data.qemu.source], ["destination's QEMU", data.qemu.destination],
                                         ["source's kernel", data.kernel]])),
    ].filter((each) => each !== null);
    return [element("h1", null, `${simulated ? "Simulated migration" : "Migration"} by ${MODES[data.mode] ?? data.mode}: ${data.result}`),
            data.error ? element("p", {class: "bad"}, data.error) : null, headline(data), contents(sections), ...sections];
}
