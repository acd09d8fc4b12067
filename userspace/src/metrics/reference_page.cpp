// SPDX-License-Identifier: GPL-2.0-or-later
#include "metrics/families.h"

namespace gc::metrics {

std::string reference_page() {
    std::string page = R"(<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- `gcctl help --metrics` prints this page. -->
# Metrics

`--metrics-file FILE` of `gcctl migrate`, `gcctl receive` and `gcctl evacuate` writes these in Prometheus' text format
([how to use it](../operations/monitoring.md)).

| metric | type | meaning |
|---|---|---|
)";
    for (const Family& family : all_families)
        page += fmt::format("| `{}` | {} | {} |\n", family.name, name(family.type), family.help);
    return page;
}

}  // namespace gc::metrics
