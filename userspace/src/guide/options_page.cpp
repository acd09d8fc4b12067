// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/options_page.h"

#include "guide/derivation.h"

#include <algorithm>

namespace gc::guide {
namespace {

constexpr std::string_view head =
    R"(<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
# What becomes of QEMU's options in a guide

A guide's command line is derived from its source's, and from what the source QEMU says of devices that were plugged in
or out later. What has an effect outside QEMU is replaced or left out. What cannot be is refused by name: the migration
goes on without a guide. `gcctl help --guide-options` prints this page, which is made from the tables in
`userspace/src/guide`; change those, not the page.
)";

void append(std::string& page, std::string_view title, std::string_view column,
            const std::vector<OptionRow>& rows) {
    page += fmt::format("\n## {}\n\n| {} | in a guide |\n|---|---|\n", title, column);
    for (const OptionRow& row : rows) {
        std::string name = row.name;
        // A pattern's star would be read as emphasis.
        if (name.find(' ') == std::string::npos && !name.starts_with('`'))
            name = fmt::format("`{}`", name);
        page += fmt::format("| {} | {} |\n", name, row.becomes);
    }
}

/// Options of one fate in one row.
std::vector<OptionRow> grouped(const std::vector<OptionRow>& rows) {
    std::vector<OptionRow> groups;
    for (const OptionRow& row : rows) {
        const auto group = std::ranges::find(groups, row.becomes, &OptionRow::becomes);
        if (group == groups.end())
            groups.push_back({fmt::format("`{}`", row.name), row.becomes});
        else
            group->name += fmt::format(", `{}`", row.name);
    }
    return groups;
}

}  // namespace

std::string options_page() {
    std::string page(head);
    append(page, "Options", "option", grouped(option_rows()));
    append(page, "Devices", "`-device`", device_rows());
    append(page, "Objects", "`-object`", object_rows());
    append(page, "Disks", "driver", disk_rows());
    append(page, "Networks", "type", network_rows());
    return page;
}

}  // namespace gc::guide
