// SPDX-License-Identifier: GPL-2.0-or-later
// The destination's gcctl, as the source knows it: where it is, what it offers, and the channels to
// it.
#pragma once

#include "migrate/ssh.h"
#include "peer/channels.h"
#include "peer/control.h"
#include "peer/dialer.h"
#include "peer/security.h"
#include "report/report.h"

#include <memory>
#include <optional>
#include <span>
#include <string>

namespace gc::migrate {

struct Options;

class Destination {
  public:
    /// Connects to it, and with ssh starts it. It has not answered yet. Errors: those of
    /// RemoteReceive::start(), peer::secure() and peer::Dialer::connect().
    static Result<std::unique_ptr<Destination>> connect(const Options& options);
    Destination(const Destination&) = delete;
    Destination& operator=(const Destination&) = delete;

    /// Waits until it says that it is ready, and makes the control channel.
    /// @param memory bytes of guest RAM. @param pages_again whether `main` may carry a page any
    /// number of times
    /// Errors: unsupported, if it refuses the VM or does not wait for one; protocol.
    Result<void> await_ready(std::uint64_t memory, bool pages_again);
    /// Connects the channels of pages, and `others`. Errors: those of peer::Channels::open().
    Result<void> open_channels(std::span<const peer::ChannelId> others);

    [[nodiscard]] const Endpoint& address() const { return address_; }
    [[nodiscard]] report::SecurityReport security() const { return security_; }
    /// peer::public_id() of the migration.
    [[nodiscard]] Result<std::string> migration_id() const;
    /// What it said of itself and its QEMU. After await_ready().
    [[nodiscard]] const peer::Ready& offer() const { return offer_; }
    /// After await_ready(), like control().
    [[nodiscard]] peer::Channels& channels() { return *channels_; }
    [[nodiscard]] peer::Control& control() { return *control_; }
    /// Whether await_ready() has succeeded.
    [[nodiscard]] bool is_ready() const { return control_.has_value(); }

  private:
    Destination(const Options& options) : options_(options) {}
    Result<void> find_and_connect();
    Result<peer::Security> find();
    Result<void> create_channels();
    Result<peer::Connection> join(peer::ChannelId channel, bool resume, Deadline deadline) const;

    const Options& options_;
    Endpoint address_;
    report::SecurityReport security_;
    std::optional<peer::Dialer> dialer_;
    peer::Connection first_;  ///< of control, until there is a channel for it
    peer::Ready offer_;
    std::uint64_t memory_ = 0;  ///< see await_ready(), like the next one
    bool pages_again_ = false;
    std::shared_ptr<peer::Channels> channels_;
    std::optional<peer::Control> control_;
    std::optional<RemoteReceive> remote_;  ///< with ssh
};

}  // namespace gc::migrate
