// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/nearest.h"

#include <algorithm>
#include <fmt/core.h>
#include <vector>

namespace gc::options {
namespace {

/// Optimal string alignment distance.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> edits(a.size() + 1,
                                                std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i)
        for (std::size_t j = 0; j <= b.size(); ++j) {
            if (i == 0 || j == 0) {
                edits[i][j] = i + j;
                continue;
            }
            const std::size_t replaced = edits[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            edits[i][j] = std::min({edits[i - 1][j] + 1, edits[i][j - 1] + 1, replaced});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                edits[i][j] = std::min(edits[i][j], edits[i - 2][j - 2] + 1);
        }
    return edits[a.size()][b.size()];
}

}  // namespace

std::string nearest(std::string_view word, std::span<const std::string> known) {
    std::vector<std::string_view> longer;
    for (const std::string& each : known)
        if (!word.empty() && each.starts_with(word))
            longer.emplace_back(each);
    if (longer.size() == 1)
        return std::string(longer.front());
    std::string best;
    std::size_t fewest = SIZE_MAX;
    for (const std::string& each : known) {
        const std::size_t edits = distance(word, each);
        if (edits < fewest && edits <= std::max<std::size_t>(1, each.size() / 3)) {
            fewest = edits;
            best = each;
        }
    }
    return best;
}

std::string suggestion(std::string_view word, std::span<const std::string> known) {
    const std::string found = nearest(word, known);
    return found.empty() ? "" : fmt::format("; did you mean '{}'?", found);
}

}  // namespace gc::options
