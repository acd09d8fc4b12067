// SPDX-License-Identifier: GPL-2.0-or-later
#include "measure/touched.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gc::measure {
namespace {

using nlohmann::json;

/// Two numbers of up to 20 digits each stay well below link::max_line.
constexpr std::size_t runs_per_message = 1000;

Unexpected malformed(const json& message) {
    return fail(ErrorKind::protocol,
                "expected the pages that the VM touched from gcctl at the other end, got '{}'",
                message.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 60));
}

}  // namespace

std::vector<json> to_messages(const Touched& touched) {
    std::vector<json> messages;
    for (std::size_t at = 0; at < touched.runs.size(); at += runs_per_message) {
        const std::size_t count = std::min(runs_per_message, touched.runs.size() - at);
        json runs = json::array();
        for (const Run& run : std::span(touched.runs).subspan(at, count)) {
            runs.push_back(run.first);
            runs.push_back(run.count);
        }
        messages.push_back({{"block", touched.block}, {"asked", touched.asked}, {"runs", runs}});
    }
    return messages;
}

Result<Touched> from_message(const json& message) {
    const auto block = message.find("block");
    const auto asked = message.find("asked");
    const auto runs = message.find("runs");
    if (block == message.end() || !block->is_string() || asked == message.end() ||
        !asked->is_boolean() || runs == message.end() || !runs->is_array() ||
        runs->size() % 2 != 0 ||
        !std::ranges::all_of(*runs, [](const json& n) { return n.is_number_unsigned(); }))
        return malformed(message);
    Touched touched{block->get<std::string>(), asked->get<bool>(), {}};
    for (std::size_t i = 0; i < runs->size(); i += 2)
        touched.runs.push_back(
            {(*runs)[i].get<std::uint64_t>(), (*runs)[i + 1].get<std::uint64_t>()});
    return touched;
}

}  // namespace gc::measure
