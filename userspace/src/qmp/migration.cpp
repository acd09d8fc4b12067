// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/migration.h"

#include "util/private_socket.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace gc::qmp {

using nlohmann::json;

namespace {

Unexpected malformed(const Client& client, std::string_view command, const json& reply) {
    return fail(ErrorKind::protocol, "{}: unexpected reply to '{}': {:.200}", client.name(),
                command, reply.dump());
}

Result<void> run(Client& client, std::string_view command, json arguments = nullptr) {
    GC_CHECK(client.execute(command, std::move(arguments)));
    return {};
}

}  // namespace

Result<Capabilities> query_capabilities(Client& client) {
    constexpr std::string_view command = "query-migrate-capabilities";
    GC_TRY(const json reply, client.execute(command));
    if (!reply.is_array())
        return malformed(client, command, reply);
    Capabilities capabilities;
    for (const json& entry : reply) {
        if (!entry.is_object() || !entry.contains("capability") ||
            !entry["capability"].is_string() || !entry.contains("state") ||
            !entry["state"].is_boolean())
            return malformed(client, command, reply);
        capabilities[entry["capability"].get<std::string>()] = entry["state"].get<bool>();
    }
    return capabilities;
}

Result<void> set_capabilities(Client& client, const Capabilities& wanted) {
    json list = json::array();
    for (const auto& [name, on] : wanted)
        list.push_back({{"capability", name}, {"state", on}});
    return run(client, "migrate-set-capabilities", {{"capabilities", std::move(list)}});
}

bool is_on(const Capabilities& capabilities, std::string_view name) {
    const auto found = capabilities.find(name);
    return found != capabilities.end() && found->second;
}

bool changes_reading(std::string_view capability) {
    constexpr std::array<std::string_view, 7> names{
        "multifd",         "compress",   "rdma-pin-all",       "x-colo",
        "x-ignore-shared", "mapped-ram", "background-snapshot"};
    return std::ranges::find(names, capability) != names.end();
}

Result<void> set_parameters(Client& client, const NumberParameters& parameters) {
    return run(client, "migrate-set-parameters", parameters);
}

void restore(Client& client, const Settings& before) {
    (void)set_capabilities(client, before.capabilities);
    (void)set_parameters(client, before.parameters);
}

void send_rest(Client& client) {
    (void)set_parameters(client, {{"max-postcopy-bandwidth", 0}});
}

Result<Parameters> query_parameters(Client& client) {
    constexpr std::string_view command = "query-migrate-parameters";
    GC_TRY(const json reply, client.execute(command));
    if (!reply.is_object())
        return malformed(client, command, reply);
    Parameters parameters;
    for (const auto& [name, value] : reply.items()) {
        if (value.is_number_integer())
            parameters.numbers[name] = value.get<std::int64_t>();
        else if (name == "tls-creds" && value.is_string())
            parameters.tls_creds = value.get<std::string>();
        else if (name == "mode" && value.is_string())
            parameters.mode = value.get<std::string>();
    }
    return parameters;
}

Result<MigrationStatus> query_migrate(Client& client, std::chrono::milliseconds timeout) {
    constexpr std::string_view command = "query-migrate";
    GC_TRY(const json reply, client.execute(command, nullptr, timeout));
    if (!reply.is_object())
        return malformed(client, command, reply);
    MigrationStatus status;
    // A QEMU that has never migrated replies {}.
    status.status = reply.contains("status") && reply["status"].is_string()
                        ? reply["status"].get<std::string>()
                        : "none";
    if (reply.contains("error-desc") && reply["error-desc"].is_string())
        status.error = reply["error-desc"].get<std::string>();
    if (const auto reasons = reply.find("blocked-reasons");
        reasons != reply.end() && reasons->is_array())
        for (const json& reason : *reasons)
            if (reason.is_string())
                status.blockers.push_back(reason.get<std::string>());
    if (const auto ram = reply.find("ram"); ram != reply.end() && ram->is_object()) {
        status.dirty_sync_count = ram->value("dirty-sync-count", 0U);
        status.remaining_bytes = ram->value("remaining", std::uint64_t{0});
    }
    return status;
}

Result<RunState> query_status(Client& client) {
    constexpr std::string_view command = "query-status";
    GC_TRY(const json reply, client.execute(command));
    if (!reply.is_object() || !reply.contains("status") || !reply["status"].is_string() ||
        !reply.contains("running") || !reply["running"].is_boolean())
        return malformed(client, command, reply);
    return RunState{reply["status"].get<std::string>(), reply["running"].get<bool>()};
}

Result<std::string> query_uuid(Client& client) {
    constexpr std::string_view command = "query-uuid";
    GC_TRY(const json reply, client.execute(command));
    if (!reply.is_object() || !reply.contains("UUID") || !reply["UUID"].is_string())
        return malformed(client, command, reply);
    return reply["UUID"].get<std::string>();
}

void announce(Client& client) {
    (void)client.execute("announce-self",
                         {{"initial", 50}, {"max", 550}, {"rounds", 5}, {"step", 100}});
}

Result<UniqueFd> migrate_to_socket(Client& client, bool resume) {
    constexpr std::string_view name = "gcctl-migration";
    GC_TRY(SocketPair pair, SocketPair::make());
    GC_CHECK(client.pass_fd(name, pair.theirs.get()));
    json arguments = {{"uri", fmt::format("fd:{}", name)}};
    if (resume)
        arguments["resume"] = true;
    if (auto started = run(client, "migrate", std::move(arguments)); !started) {
        // Fails if QEMU has taken the descriptor.
        (void)run(client, "closefd", {{"fdname", name}});
        return Unexpected(std::move(started).error());
    }
    return std::move(pair.ours);
}

Result<void> migrate_resume(Client& client, const std::string& uri) {
    return run(client, "migrate", {{"uri", uri}, {"resume", true}});
}

Result<void> migrate_incoming(Client& client, const std::string& uri, OnError on_error) {
    json arguments = {{"uri", uri}};
    if (on_error == OnError::stay)
        arguments["exit-on-error"] = false;
    return run(client, "migrate-incoming", std::move(arguments));
}

Result<void> migrate_start_postcopy(Client& client) {
    return run(client, "migrate-start-postcopy");
}

Result<void> migrate_cancel(Client& client) {
    return run(client, "migrate_cancel");
}

Result<void> stop(Client& client) {
    return run(client, "stop");
}

Result<void> cont(Client& client) {
    return run(client, "cont");
}

}  // namespace gc::qmp
