// SPDX-License-Identifier: GPL-2.0-or-later
// One incoming migration, from the first connection to QEMU's status "completed".
#pragma once

#include "peer/control.h"
#include "peer/refusal.h"
#include "receive/acceptor.h"
#include "receive/byte_relay.h"
#include "receive/demand_meter.h"
#include "receive/destination_qemu.h"
#include "receive/offered_keys.h"
#include "receive/options.h"
#include "receive/stream_merger.h"
#include "receive/touch_meter.h"
#include "state/store.h"
#include "util/guardian.h"

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <variant>

namespace gc::receive {

/// The control loop: handles QMP events of the destination QEMU and messages of `gcctl migrate`.
class Receiver {
  public:
    /// Receives one VM. Errors: any; the message says what happened to the VM.
    static Result<void> run(const Options& options);

  private:
    /// What the threads that carry the stream report.
    struct StreamBegan {};
    struct StreamBroke {
        Error error;
    };
    using StreamNotice = std::variant<StreamBegan, StreamBroke>;

    Receiver(const Options& options, peer::Security security, DestinationQemu destination,
             Guardian guardian, std::optional<TouchMeter> touches, Waker notices)
        : options_(options), security_(std::move(security)), destination_(std::move(destination)),
          guardian_(std::move(guardian)), notices_(std::move(notices)),
          touches_(std::move(touches)) {}

    Result<void> listen();
    /// Turns an accepted socket into a connection. Runs in threads of the acceptor.
    Result<peer::Connection> secure(UniqueFd fd, Deadline deadline);
    Result<void> receive();

    // Until all channels of a source are open, QEMU is not told to listen: whatever happens, it can
    // still take another source.
    Result<void> await_source();
    Result<Arrival> next_arrival(Deadline deadline);
    Result<void> open_session(Arrival arrival);
    Result<void> await_channels();
    void take_channel(Arrival arrival);

    Result<void> start_stream();
    /// Keeps a record on disk, from which `gcctl recover` and `gcctl status` know the migration.
    void keep_record();
    Result<void> loop();
    Result<void> on_notices();
    Result<void> on_stream_began();
    Result<void> on_control();
    Result<void> on_qmp();
    Result<void> on_status(const std::string& status);
    Result<void> commit(bool run);
    void report_resumed(std::string_view text);
    void finish();

    void measure();
    Result<void> wait_measured();
    Result<void> report_measured();

    /// The failure as the user should see it, after what can still be done was done.
    Error lost(Error error);
    void say(std::string_view event, std::string_view text, nlohmann::json fields) const;
    void say(std::string_view event, std::string_view text) const;

    const Options& options_;
    peer::Security security_;
    OfferedKeys keys_;
    DestinationQemu destination_;
    Guardian guardian_;  ///< ends QEMU if this process is killed before the commit
    Mailbox<StreamNotice> notices_;
    std::unique_ptr<Acceptor> acceptor_;
    // One migration, from its control connection on.
    std::optional<peer::Control> control_;
    std::string source_;  ///< its address
    peer::Token token_{};
    std::optional<peer::Refusal> refusal_;
    peer::Connection main_, bulk_, urgent_;
    peer::Connection qemu_main_, qemu_urgent_;
    DemandMeter meter_;
    std::optional<state::Journal> journal_;
    std::optional<TouchMeter> touches_;
    std::chrono::steady_clock::time_point stream_began_by_;  ///< else the source hangs
    std::chrono::steady_clock::time_point resumed_at_;
    std::unique_ptr<StreamMerger> to_qemu_main_;
    std::unique_ptr<ByteRelay> to_qemu_urgent_, from_qemu_;
    std::string stream_error_;  ///< why the stream broke, if it did
    bool began_ = false;        ///< QEMU has the head of the stream
    bool committed_ = false;
    bool resumed_ = false;      ///< the VM runs here, or stays paused as it was at the source
    bool completed_ = false;    ///< QEMU has everything
    bool source_gone_ = false;  ///< the control connection ended after commit
};

}  // namespace gc::receive
