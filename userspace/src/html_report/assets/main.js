// SPDX-License-Identifier: GPL-2.0-or-later
// Creates the page from the data.

try {
    const data = JSON.parse(document.getElementById("data").textContent);
    const made = data.schema === "guidecopy.report/1" ? migrationPage(data) : benchmarkPage(data);
    document.getElementById("page").replaceChildren(...made.filter((each) => each !== null));
    document.title = made[0].textContent;
    keepDrawn();
} catch (error) {
    document.getElementById("page").prepend(element("p", {class: "bad"}, `This page could not be made: ${error}`));
    throw error;
}
