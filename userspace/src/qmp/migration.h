// SPDX-License-Identifier: GPL-2.0-or-later
// Typed QMP commands for migration. Errors: those of qmp::Client.
#pragma once

#include "qmp/client.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gc::qmp {

/// Maps a capability's name ("postcopy-ram") to whether it is on.
using Capabilities = std::map<std::string, bool, std::less<>>;

Result<Capabilities> query_capabilities(Client& client);
/// false also if this QEMU does not know it.
[[nodiscard]] bool is_on(const Capabilities& capabilities, std::string_view name);
Result<void> set_capabilities(Client& client, const Capabilities& wanted);
/// Whether a destination QEMU with this capability on expects another stream than gcctl's.
[[nodiscard]] bool changes_reading(std::string_view capability);

/// Numeric migration parameters, in bytes per second or milliseconds.
using NumberParameters = std::map<std::string, std::int64_t, std::less<>>;
Result<void> set_parameters(Client& client, const NumberParameters& parameters);

/// QEMU limits its rate in windows of 100 ms (XFER_LIMIT_RATIO in migration/qemu-file.h, 7.2).
constexpr std::int64_t windows_per_s = 10;
/// With this as max-postcopy-bandwidth, QEMU sends only the pages that are requested: it is one
/// byte a window (ram_save_iterate() in migration/ram.c, 7.2). 0 would lift the limit.
constexpr std::int64_t only_requested = windows_per_s;
/// Ends that limit. Best effort.
void send_rest(Client& client);

struct Parameters {
    NumberParameters numbers;
    std::string tls_creds;  ///< empty without TLS
    std::string mode;       ///< "normal", "cpr-..."; empty before QEMU 8.2
};
Result<Parameters> query_parameters(Client& client);

/// What a migration changes of a QEMU, as it was before.
struct Settings {
    Capabilities capabilities;
    NumberParameters parameters;
};
/// Best effort: the VM is more important.
void restore(Client& client, const Settings& before);

struct MigrationStatus {
    std::string status;  ///< "none", "setup", "active", "postcopy-active", "completed", ...
    std::string error;   ///< QEMU's reason for a failure; otherwise empty
    std::vector<std::string> blockers;  ///< why this VM cannot be migrated; mostly empty
    unsigned dirty_sync_count = 0;      ///< number of passes over all of RAM
    std::uint64_t remaining_bytes = 0;  ///< of RAM

    [[nodiscard]] bool completed() const { return status == "completed"; }
    [[nodiscard]] bool failed() const { return status == "failed" || status == "cancelled"; }
    /// Whether nothing more will happen by itself: completed, failed, or never started.
    [[nodiscard]] bool idle() const { return completed() || failed() || status == "none"; }
};
Result<MigrationStatus> query_migrate(Client& client,
                                      std::chrono::milliseconds timeout = Client::default_timeout);

struct RunState {
    std::string status;  ///< "running", "paused", "inmigrate", "finish-migrate", "postmigrate", ...
    bool running = false;
};
Result<RunState> query_status(Client& client);
/// The VM's, as text. Errors: those of Client; protocol.
Result<std::string> query_uuid(Client& client);
/// Tells the network where the VM is, a few times. Best effort.
void announce(Client& client);

/// Makes QEMU migrate to a connected socket: the peer of the returned one.
/// @param resume continue a migration that is postcopy-paused
///
/// No path, which a process of QEMU's user could replace, and no listener, to which somebody else
/// could connect. It must be the stream's only channel: postcopy-preempt opens a second one, for
/// which QEMU needs an address (7.2 and later).
Result<UniqueFd> migrate_to_socket(Client& client, bool resume = false);
/// Makes QEMU continue a migration that is postcopy-paused, and connect to that URI for it.
Result<void> migrate_resume(Client& client, const std::string& uri);
/// What a destination QEMU does when its migration fails.
enum class OnError { exit, stay };
/// @param on_error stay: QEMU 9.1 or later
Result<void> migrate_incoming(Client& client, const std::string& uri,
                              OnError on_error = OnError::exit);
Result<void> migrate_start_postcopy(Client& client);
Result<void> migrate_cancel(Client& client);
Result<void> stop(Client& client);
Result<void> cont(Client& client);

}  // namespace gc::qmp
