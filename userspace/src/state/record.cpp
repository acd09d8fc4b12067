// SPDX-License-Identifier: GPL-2.0-or-later
#include "state/record.h"

#include "util/text.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace gc::state {
namespace {

using nlohmann::json;

constexpr int version = 1;
constexpr std::array<std::string_view, 2> role_names{"source", "destination"};
constexpr std::array<std::string_view, 6> phase_names{"begun",   "switched-over", "committed",
                                                      "running", "never-ran",     "taking-back"};

json to_json(const Process& process) {
    return {{"pid", process.pid}, {"start", process.start}};
}

Process process_of(const json& object) {
    return {object.at("pid").get<pid_t>(), object.at("start").get<std::uint64_t>()};
}

template <typename Enum, std::size_t size>
Enum enum_of(const std::array<std::string_view, size>& names, const json& value) {
    const auto found = std::ranges::find(names, value.get<std::string>());
    if (found == names.end())
        throw std::invalid_argument("unknown name");
    return static_cast<Enum>(found - names.begin());
}

}  // namespace

std::string_view name(Role role) {
    return role_names[static_cast<std::size_t>(role)];
}

std::string_view name(Phase phase) {
    return phase_names[static_cast<std::size_t>(phase)];
}

std::string full_name(const Record& record) {
    return fmt::format("{}.{}", record.id, name(record.role));
}

bool is_named(const Record& record, std::string_view word) {
    return word == record.id || word == full_name(record);
}

std::string encode(const Record& record) {
    const json object{{"version", version},
                      {"id", record.id},
                      {"role", name(record.role)},
                      {"phase", name(record.phase)},
                      {"gcctl", to_json(record.gcctl)},
                      {"qmp", record.qmp},
                      {"qemu", to_json(record.qemu)},
                      {"peer", record.peer},
                      {"arguments", record.arguments},
                      {"runs", record.runs},
                      {"capabilities", record.capabilities},
                      {"parameters", record.parameters},
                      {"domain", record.domain},
                      {"finish", record.finish},
                      {"begun", record.begun},
                      {"changed", record.changed}};
    return object.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

Result<Record> decode(std::string_view text) {
    const json object = json::parse(text, nullptr, false);
    Record record;
    try {
        if (object.at("version").get<int>() != version)
            return fail(ErrorKind::protocol, "expected a record of version {}, found {}", version,
                        object.at("version").get<int>());
        record.id = object.at("id").get<std::string>();
        record.role = enum_of<Role>(role_names, object.at("role"));
        record.phase = enum_of<Phase>(phase_names, object.at("phase"));
        record.gcctl = process_of(object.at("gcctl"));
        record.qmp = object.at("qmp").get<std::string>();
        record.qemu = process_of(object.at("qemu"));
        record.peer = object.at("peer").get<std::string>();
        record.arguments = object.at("arguments").get<std::vector<std::string>>();
        record.runs = object.at("runs").get<bool>();
        record.capabilities = object.at("capabilities").get<decltype(record.capabilities)>();
        record.parameters = object.at("parameters").get<decltype(record.parameters)>();
        record.domain = object.value("domain", "");
        record.finish = object.value("finish", "");
        record.begun = object.at("begun").get<std::int64_t>();
        record.changed = object.at("changed").get<std::int64_t>();
    } catch (const std::exception&) {
        return fail(ErrorKind::protocol, "expected a record of a migration, found '{}'",
                    printable(text, 60));
    }
    if (!is_id(record.id))
        return fail(ErrorKind::protocol, "invalid id '{}' in a record", printable(record.id, 60));
    return record;
}

bool is_id(std::string_view text) {
    return text.size() == 16 && std::ranges::all_of(text, [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

std::string never_ran(const std::string& id) {
    return fmt::format("{}:{}", name(Phase::never_ran), id);
}

std::string take_back_at_source(const Record& destination) {
    return fmt::format("gcctl take-back {} --verdict {}",
                       destination.domain.empty() ? "--qmp SOCKET"
                                                  : "--domain " + destination.domain,
                       never_ran(destination.id));
}

Result<std::string> parse_verdict(std::string_view text) {
    const std::string_view verdict = name(Phase::never_ran);
    if (text == verdict)
        return std::string();
    const std::string_view id = text.substr(std::min(text.size(), verdict.size() + 1));
    if (!text.starts_with(fmt::format("{}:", verdict)) || !is_id(id))
        return fail(ErrorKind::usage,
                    "invalid verdict '{}' (expected {}:ID, as 'gcctl receive' or 'gcctl status' "
                    "printed it at the destination)",
                    printable(text, 60), verdict);
    return std::string(id);
}

}  // namespace gc::state
