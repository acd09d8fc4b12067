// SPDX-License-Identifier: GPL-2.0-or-later
// The place a guide lives in: an empty network namespace with taps that lead nowhere, and a scratch
// file system for its disk overlays. Nothing has a name in a file system or in the host's network:
// all of it goes when the last descriptor is closed, also if gcctl is killed.
#pragma once

#include "guide/command_line.h"
#include "guide/sink.h"
#include "util/error.h"
#include "util/fd.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct nl_sock;

namespace gc::guide {

struct Tap {
    std::string netdev;            ///< the guide's netdev id, as in the request
    std::string name;              ///< in its own namespace, e.g. "gctap0"
    int index = 0;                 ///< in its own namespace
    std::vector<UniqueFd> queues;  ///< one for each queue; the tap goes with the last one
};

class Quarantine {
  public:
    /// Makes the namespace and its taps; the caller's own namespace is not changed. The taps are
    /// up, have no address, and no IPv6: nothing is ever sent to the guide. They live as long as
    /// this object, or the guide. Errors: unsupported without CAP_SYS_ADMIN and CAP_NET_ADMIN or
    /// without /dev/net/tun; io
    static Result<Quarantine> create(std::span<const TapRequest> requests);

    /// To be handed to setns(2).
    [[nodiscard]] int network_namespace() const { return namespace_.get(); }
    [[nodiscard]] const std::vector<Tap>& taps() const { return taps_; }

    /// What the guide has sent on all its taps, all of it dropped by the kernel. Errors: io
    [[nodiscard]] Result<Sent> sent_by_guide() const;
    /// Why no program drops and counts it, but the namespace alone; empty: a program does.
    [[nodiscard]] const std::string& without_sink() const { return without_sink_; }

  private:
    struct FreeSocket {
        void operator()(nl_sock* socket) const;
    };
    Quarantine() = default;
    Result<void> build(std::span<const TapRequest> requests);
    Result<void> add_tap(const TapRequest& request);
    Result<void> add_sink();

    UniqueFd namespace_;
    std::vector<Tap> taps_;
    std::optional<Sink> sink_;
    std::string without_sink_;
    std::unique_ptr<nl_sock, FreeSocket> netlink_;  ///< stays in the namespace it was opened in
};

/// A tmpfs that is mounted nowhere; files are made below /proc/self/fd/N. Every user may write to
/// it.
/// @param max_bytes what the guide may write to its disks; then they are full
/// Errors: unsupported without CAP_SYS_ADMIN; io
Result<UniqueFd> make_scratch(std::uint64_t max_bytes);

}  // namespace gc::guide
