// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/text.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

namespace gc {
inline namespace util {

std::string printable(std::string_view text, std::size_t max_size) {
    std::string out;
    for (const char c : text.substr(0, max_size)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f)
            out += c;
        else
            fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    }
    if (text.size() > max_size)
        out += "...";
    return out;
}

std::string shell_line(const std::vector<std::string>& words) {
    constexpr std::string_view plain = "-_./:,=@+%";
    std::string line;
    for (const std::string& word : words) {
        const bool is_plain = !word.empty() && std::ranges::all_of(word, [plain](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                   plain.find(c) != std::string_view::npos;
        });
        std::string quoted = "'";
        for (const char c : word)
            quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
        line += (line.empty() ? "" : " ") + (is_plain ? word : quoted + "'");
    }
    return line;
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        lines.emplace_back(line);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

}  // namespace util
}  // namespace gc
