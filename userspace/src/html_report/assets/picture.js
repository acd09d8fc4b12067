// SPDX-License-Identifier: GPL-2.0-or-later
// Charts: each is a figure with a canvas, drawn by Chart.js, and a table of its numbers.

const pictures = [];  // {canvas, config, chart}

/**
 * A chart, to be drawn by drawPictures().
 * @param text what the chart shows, in one or two sentences
 * @param label a description for those who cannot see it
 * @param height of the canvas, in CSS pixels
 * @param config (color) => configuration of Chart.js, where color("mode-1") is a colour of report.css
 * @param head, rows the numbers, as for table()
 */
function picture({title, text, label, height, config, head, rows}) {
    const canvas = element("canvas", {role: "img", "aria-label": `${title}. ${label}`}, label);
    const box = element("div", {class: "canvas"}, canvas);
    box.style.height = `${height}px`;
    pictures.push({canvas, config, chart: null});
    return element("figure", null, element("h3", null, title), element("figcaption", null, element("p", null, text)), box,
                   element("details", null, element("summary", null, "The numbers"), table(head, rows)));
}

/** Takes the place of a chart and tells why there is none. */
function noPicture(title, why) {
    return element("div", null, element("h3", null, title), element("p", {class: "note"}, why));
}

function drawPictures() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    Object.assign(Chart.defaults, {animation: false, responsive: true, maintainAspectRatio: false,
                                   devicePixelRatio: Math.max(2, window.devicePixelRatio),  // for paper
                                   color: color("ink"), borderColor: color("line")});
    Object.assign(Chart.defaults.font, {family: getComputedStyle(document.body).fontFamily, size: 12});
    for (const one of pictures) {
        one.chart?.destroy();
        one.chart = new Chart(one.canvas, one.config(color));
    }
}

/** Draws the charts, and again whenever the colours change: another colour scheme, or printing. */
function keepDrawn() {
    drawPictures();
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPictures);
    for (const [event, onPaper] of [["beforeprint", true], ["afterprint", false]])
        window.addEventListener(event, () => {
            document.documentElement.classList.toggle("paper", onPaper);
            drawPictures();
        });
}
