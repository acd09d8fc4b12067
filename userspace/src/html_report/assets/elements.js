// SPDX-License-Identifier: GPL-2.0-or-later
// HTML elements. Strings of the data are only ever inserted as text.
"use strict";

/** An element with attributes and children (elements or text; null and undefined are left out). */
function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {}))
        made.setAttribute(name, value);
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
}

/** A table whose first column names its rows. Cells are elements, text, or lists of them. */
function table(head, rows, attributes) {
    const line = ([name, ...cells]) =>
        element("tr", null, element("th", {scope: "row"}, name), cells.map((cell) => element("td", null, cell)));
    const top = head && element("thead", null, element("tr", null, head.map((cell) => element("th", {scope: "col"}, cell))));
    return element("div", {class: "wide"}, element("table", attributes, top, element("tbody", null, rows.map(line))));
}

/** The square in front of a name, in its colour in the charts: a custom property of report.css. */
function swatch(color) {
    const made = element("span", {class: "swatch"});
    made.style.background = `var(--${color})`;
    return made;
}

/** A table of contents with links. @param sections elements with an id whose first child is the heading */
function contents(sections) {
    const link = (section) =>
        element("li", null, element("a", {href: `#${section.id}`}, section.firstChild.textContent));
    return element("nav", {"aria-label": "Contents"}, element("ul", null, sections.map(link)));
}

function section(id, heading, ...children) {
    return element("section", {id}, element("h2", null, heading), ...children);
}
