// SPDX-License-Identifier: GPL-2.0-or-later
// One incoming migration, from the first connection to QEMU's status "completed".
#pragma once

#include "peer/protocol.h"
#include "receive/byte_relay.h"
#include "receive/demand_meter.h"
#include "receive/destination_qemu.h"
#include "receive/options.h"
#include "receive/stream_merger.h"
#include "receive/touch_meter.h"

#include <memory>
#include <optional>

namespace gc::receive {

/// The control loop: handles QMP events of the destination QEMU and messages of `gcctl migrate`.
class Receiver {
  public:
    /// Receives one VM. Errors: any; the message says what happened to the VM.
    static Result<void> run(const Options& options);

  private:
    Receiver(const Options& options, DestinationQemu destination, peer::Control control,
             std::string token, std::optional<TouchMeter> touches)
        : options_(options), destination_(std::move(destination)), control_(std::move(control)),
          token_(std::move(token)), touches_(std::move(touches)) {}

    Result<void> accept_channels(int listener);
    Result<void> start_relays();
    Result<void> loop();
    Result<void> on_control();
    Result<void> on_qmp();
    Result<void> on_status(const std::string& status);
    void report_resumed(std::string_view text);
    void measure();
    Result<void> wait_measured();
    Result<void> report_measured();
    Result<void> commit(bool run);
    Unexpected lost_before_commit(Error error);
    Unexpected lost_after_commit(const Error& error);
    void say(std::string_view event, std::string_view text, nlohmann::json fields) const;
    void say(std::string_view event, std::string_view text) const;

    const Options& options_;
    DestinationQemu destination_;
    peer::Control control_;
    std::string token_;
    UniqueFd tcp_main_, tcp_bulk_, tcp_urgent_, unix_main_, unix_urgent_;
    DemandMeter meter_;
    std::optional<TouchMeter> touches_;
    std::chrono::steady_clock::time_point resumed_at_;
    std::unique_ptr<StreamMerger> to_qemu_main_;
    std::unique_ptr<ByteRelay> to_qemu_urgent_, from_qemu_;
    bool committed_ = false;
    bool resumed_ = false;      ///< the VM runs here, or stays paused as it was at the source
    bool completed_ = false;    ///< QEMU has everything
    bool source_gone_ = false;  ///< the control connection ended after commit
};

}  // namespace gc::receive
