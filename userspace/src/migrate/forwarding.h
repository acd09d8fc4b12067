// SPDX-License-Identifier: GPL-2.0-or-later
// What arrives for the VM at the source while it stands still, in one migration: whether it can be
// forwarded, from when to when it is, and its part of the report.
#pragma once

#include "peer/message.h"
#include "report/report.h"

#include <chrono>
#include <cstdint>
#include <memory>

namespace gc::forward {
class Forwarder;
}  // namespace gc::forward
namespace gc::peer {
class Channels;
}  // namespace gc::peer

namespace gc::migrate {

class Progress;
class SourceQemu;

/// What fails here costs some clients a retransmission, and is no error.
class Forwarding {
  public:
    Forwarding(Progress& progress, report::ForwardReport& report);
    ~Forwarding();
    Forwarding(const Forwarding&) = delete;
    Forwarding& operator=(const Forwarding&) = delete;

    /// Finds the taps whose packets can be forwarded.
    /// @param wanted by the user. @param mark see forward::Forwarder::create()
    void prepare(bool wanted, SourceQemu& source, const peer::Ready& offer,
                 peer::Channels& channels, std::uint32_t mark);
    /// Whether it wants its channel, and does something.
    [[nodiscard]] bool on() const { return forwarder_ != nullptr; }

    /// Before the VM is stopped.
    void listen();
    /// Once the VM is handed over. @param was_running it was not paused
    /// @param stopped when QEMU stopped it
    void start(bool was_running, std::chrono::system_clock::time_point stopped);
    /// The VM runs at the destination.
    void resumed();
    /// Ends it if it has nothing more to do.
    void check();
    void end();

  private:
    Progress& progress_;
    report::ForwardReport& report_;
    std::unique_ptr<forward::Forwarder> forwarder_;
};

}  // namespace gc::migrate
