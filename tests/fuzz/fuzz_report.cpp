// SPDX-License-Identifier: GPL-2.0-or-later
// Reports and results of benchmarks in JSON, and the page made of them.
#include "html_report/document.h"
#include "html_report/input.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc::html_report;
    const auto input = read_input({reinterpret_cast<const char*>(data), size});
    if (!input)
        return 0;
    // No text of the input ends the element that has it, or begins another.
    const std::string page = make_page(*input);
    if (page.find("<!--", page.find("<body")) != std::string::npos)
        std::abort();
    return 0;
}
