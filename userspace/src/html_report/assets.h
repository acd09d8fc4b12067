// SPDX-License-Identifier: GPL-2.0-or-later
// What a page is made of, as it was put into the program at build time (assets.S.in).
#pragma once

#include <string_view>

namespace gc::html_report {

struct Assets {
    std::string_view page;      ///< the template, with @NAME@ for each of the others and @DATA@
    std::string_view style;     ///< CSS
    std::string_view script;    ///< ours
    std::string_view chart_js;  ///< Chart.js, of Debian's package
};

Assets assets();

}  // namespace gc::html_report
