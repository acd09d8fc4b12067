// SPDX-License-Identifier: GPL-2.0-or-later
// Pictures: each a figure with a canvas, which Chart.js draws, and its numbers as a table.

const pictures = [];  // {canvas, config, chart}

/**
 * A picture, to be drawn by drawPictures().
 * @param text what is drawn, one or two sentences
 * @param label what a person sees who looks at it, in words
 * @param height of the canvas, in CSS pixels
 * @param config (color) => Chart.js's configuration, where color("mode-1") is a colour of page.css
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

/** In the place of a picture: why there is none. */
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

/** Draws, and again whenever the colours change: another scheme, or paper. */
function keepDrawn() {
    drawPictures();
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawPictures);
    for (const [event, onPaper] of [["beforeprint", true], ["afterprint", false]])
        window.addEventListener(event, () => {
            document.documentElement.classList.toggle("paper", onPaper);
            drawPictures();
        });
}
