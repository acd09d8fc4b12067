// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of the page, embedded at build time (assets.S.in).
#pragma once

#include <string_view>

namespace gc::html_report {

struct Assets {
    std::string_view page;      ///< the template, with a @NAME@ for each of the others and @DATA@
    std::string_view style;     ///< CSS
    std::string_view script;    ///< guidecopy's own
    std::string_view chart_js;  ///< Chart.js, from Debian's package
};

Assets assets();

}  // namespace gc::html_report
