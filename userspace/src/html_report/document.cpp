// SPDX-License-Identifier: GPL-2.0-or-later
#include "html_report/document.h"

#include "html_report/assets.h"
#include "ledger/page_class.h"

#include <array>
#include <nlohmann/json.hpp>

namespace gc::html_report {
namespace {

/// JSON to be embedded in <script>. In JSON, "<" occurs in strings only; without it, nothing can
/// end the script or start a comment.
std::string for_script(const Json& input) {
    std::string out;
    for (const char c : input.dump())
        if (c == '<')
            out += "\\u003c";
        else
            out += c;
    return out;
}

}  // namespace

std::string make_page(const Json& input) {
    const Assets from = assets();
    const std::string data = for_script(input);
    const std::string classes = Json(ledger::page_class_names).dump();
    // In the template's order, each once: inserted text is not searched for marks.
    const std::array<std::pair<std::string_view, std::string_view>, 5> marks{
        {{"@STYLE@", from.style},
         {"@CLASSES@", classes},
         {"@DATA@", data},
         {"@CHART_JS@", from.chart_js},
         {"@SCRIPT@", from.script}}};
    std::string out;
    std::string_view rest = from.page;
    for (const auto& [mark, text] : marks) {
        const std::size_t at = rest.find(mark);
        out.append(rest.substr(0, at)).append(text);
        rest.remove_prefix(at + mark.size());
    }
    return out.append(rest);
}

}  // namespace gc::html_report
