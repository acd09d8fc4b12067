// SPDX-License-Identifier: GPL-2.0-or-later
// Isolates a guide: an empty network namespace with taps that lead nowhere, and a scratch file
// system for its disk overlays. Nothing has a name in a file system or in the host's network, so
// everything goes away when the last descriptor is closed, even if gcctl is killed.
#pragma once

#include "guide/command_line.h"
#include "guide/sink.h"
#include "net/netlink.h"
#include "util/error.h"
#include "util/fd.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gc::guide {

struct Tap {
    std::string netdev;            ///< the guide's netdev id, as in the request
    std::string name;              ///< in the quarantine's namespace, e.g. "gctap0"
    int index = 0;                 ///< in the quarantine's namespace
    std::vector<UniqueFd> queues;  ///< one for each queue; closing the last one removes the tap
};

class Quarantine {
  public:
    /// Creates the namespace and its taps; the caller's namespace does not change. The taps are up,
    /// without addresses and IPv6: nothing is ever sent to the guide. They live as long as this
    /// object or the guide. Errors: unsupported without CAP_SYS_ADMIN and CAP_NET_ADMIN or without
    /// /dev/net/tun; io
    static Result<Quarantine> create(std::span<const TapRequest> requests);

    /// For setns(2).
    [[nodiscard]] int network_namespace() const { return namespace_.get(); }
    [[nodiscard]] const std::vector<Tap>& taps() const { return taps_; }

    /// What the guide has sent on all of its taps. The kernel dropped all of it. Errors: io
    [[nodiscard]] Result<Sent> sent_by_guide() const;
    /// Why only the namespace drops it, and no eBPF program counts it; empty if a program does.
    [[nodiscard]] const std::string& without_sink() const { return without_sink_; }

  private:
    Quarantine() = default;
    Result<void> build(std::span<const TapRequest> requests);
    Result<void> add_tap(const TapRequest& request);
    Result<void> add_sink();

    UniqueFd namespace_;
    std::vector<Tap> taps_;
    std::optional<Sink> sink_;
    std::string without_sink_;
    std::unique_ptr<net::Netlink> netlink_;  ///< belongs to the namespace
};

/// A tmpfs that is not attached to any directory; files are created below /proc/self/fd/N. Every
/// user may write to it.
/// @param max_bytes its size: the guide's disks are full after this much
/// Errors: unsupported without CAP_SYS_ADMIN; io
Result<UniqueFd> make_scratch(std::uint64_t max_bytes);

}  // namespace gc::guide
