// SPDX-License-Identifier: GPL-2.0-or-later
// One incoming migration, from the first connection to QEMU's status "completed".
#pragma once

#include "forward/deliverer.h"
#include "mirror/sender.h"
#include "peer/channels.h"
#include "peer/control.h"
#include "peer/refusal.h"
#include "policy/lease.h"
#include "receive/acceptor.h"
#include "receive/byte_relay.h"
#include "receive/demand_meter.h"
#include "receive/destination_qemu.h"
#include "receive/offered_keys.h"
#include "receive/options.h"
#include "receive/stream_merger.h"
#include "receive/touch_meter.h"
#include "receive/urgent_relay.h"
#include "receive/zero_placer.h"
#include "state/store.h"
#include "util/guardian.h"
#include "util/signals.h"

#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <variant>

namespace gc::receive {

/// The control loop: handles news of the destination QEMU and messages of `gcctl migrate`.
class Receiver {
  public:
    /// Receives one VM. Errors: any; the message says what happened to the VM.
    /// @param listener of the address; none: it listens itself
    static Result<void> run(const Options& options, UniqueFd listener = {});
    /// Ends its threads, whatever they wait for.
    ~Receiver();
    Receiver(const Receiver&) = delete;
    Receiver& operator=(const Receiver&) = delete;

  private:
    /// What the threads that carry the stream report.
    struct StreamBegan {};
    struct StreamBroke {
        Error error;
    };
    /// QEMU has been given all of the device state.
    struct StateGiven {};
    using StreamNotice = std::variant<StreamBegan, StreamBroke, StateGiven>;

    Receiver(const Options& options, peer::Security security,
             std::unique_ptr<DestinationQemu> destination, std::optional<Guardian> guardian,
             std::optional<TouchMeter> touches, Waker notices, Signals signals)
        : options_(options), security_(std::move(security)), destination_(std::move(destination)),
          guardian_(std::move(guardian)), notices_(std::move(notices)),
          touches_(std::move(touches)), signals_(std::move(signals)) {}

    Result<void> listen(UniqueFd listener);
    // These run in threads of the acceptor.
    /// Turns an accepted socket into a connection.
    Result<peer::Connection> secure(UniqueFd fd, Deadline deadline);
    /// Connects a channel of the current migration.
    std::optional<Arrival> admit(Arrival arrival);
    /// Errors: unsupported, if the connection is not of that channel.
    [[nodiscard]] Result<void> check_identity(const Arrival& arrival) const;
    Result<void> receive();

    // Until all channels of a source are open, QEMU is not told to listen: whatever happens, it can
    // still take another source.
    Result<void> await_source();
    Result<std::optional<Arrival>> next_arrival(Deadline deadline);
    Result<void> open_session(Arrival arrival);
    /// What this end can do, and what its QEMU is, if the source can read that.
    [[nodiscard]] peer::Ready ready(int version);
    /// Errors: unsupported, if there seems to be too little memory for the VM.
    [[nodiscard]] Result<void> check_memory() const;
    void find_taps();
    /// Copies what arrives for the VM from here on, if the source wants that.
    void start_mirror();
    /// For what arrived for the VM at the source.
    void open_ports();
    /// Gives the VM what arrived for it at the source, if the source sends that.
    void start_delivery();
    [[nodiscard]] std::optional<peer::Delivered> delivered() const;
    /// @param source the control connection
    void join_policy(int source, peer::Channels& channels);
    Result<void> await_channels();
    void take_channels();
    void take_channel(Arrival arrival);
    void end_session();
    /// The channels of the migration with this token; null if there is none.
    [[nodiscard]] std::shared_ptr<peer::Channels> channels_of(const peer::Token& token) const;
    [[nodiscard]] bool all_open() const;
    peer::Channel& channel(peer::ChannelId id) { return (*channels_)[id]; }

    Result<void> start_stream();
    /// What places the zeros that the source tells of; null if it tells of none. Errors: those of
    /// QMP.
    Result<std::unique_ptr<ZeroPlacer>> make_zero_placer();
    /// Gives QEMU a page of zeros that it has requested.
    void give_zero(std::uint32_t ram_section, std::string_view block, std::uint64_t page);
    void start_urgent();
    /// Of QEMU, before it is forwarded to the source.
    void saw_return_path(std::span<const std::byte> bytes);
    /// Keeps a record on disk, from which `gcctl recover` and `gcctl status` know the migration.
    void keep_record();
    Result<void> loop();
    Result<void> on_signals();
    Result<void> on_notices();
    Result<void> on_stream_began();
    Result<void> on_control();
    Result<void> on_message(const peer::Message& message);
    /// Before the commit: waits a moment for the source, which may know why.
    Result<void> hear_source();
    Result<void> on_qemu();
    Result<void> on_status(const std::string& status);
    /// Errors: unsupported, if QEMU has refused the device state without a word.
    Result<void> check_refused();
    Result<void> commit(bool run);
    /// Errors: io, before the commit, if the source has been away for too long.
    Result<void> on_connections();
    /// Waits until the source knows how the migration ended, or is away for too long.
    void await_told();
    void report_running();
    void report_resumed(std::string_view text);
    void finish();
    /// Adds the migration to the file of metrics. @param failure nullopt: the VM is here
    void count(std::optional<ErrorKind> failure) const;

    void measure();
    Result<void> wait_measured();
    Result<void> report_measured();

    /// The failure as the user should see it, after what can still be done was done.
    Error lost(Error error);
    Error lost_managed(Error error);
    [[nodiscard]] bool never_ran();
    Error refused(Error error);
    void set_never_ran(Error& error);
    void say(std::string_view event, std::string_view text, nlohmann::json fields) const;
    void say(std::string_view event, std::string_view text) const;

    const Options& options_;
    peer::Security security_;
    OfferedKeys keys_;
    std::unique_ptr<DestinationQemu> destination_;
    std::optional<Guardian> guardian_;  ///< ends QEMU if this process is killed before the commit
    Mailbox<StreamNotice> notices_;
    std::optional<Arrival> next_;  ///< a source that came when another one had left
    // One migration, from its control connection on.
    mutable std::mutex session_mutex_;  ///< of the next two, which only the control loop sets
    std::shared_ptr<peer::Channels> channels_;
    peer::Token token_{};
    int version_ = peer::oldest_version;  ///< of the peer protocol
    std::unique_ptr<Acceptor> acceptor_;  ///< its threads use what is above
    std::optional<peer::Control> control_;
    std::string source_;  ///< its address
    std::optional<peer::Refusal> refusal_;
    std::optional<policy::PolicyLease> policy_;  ///< of the NIC towards the source, if it has one
    std::optional<mirror::Taps> taps_;           ///< of the VM's NICs, until the commit
    std::unique_ptr<mirror::Sender> mirror_;
    std::vector<forward::Deliverer::Port> ports_;  ///< until the commit
    std::unique_ptr<forward::Deliverer> deliverer_;
    peer::Connection qemu_main_, qemu_urgent_;
    DemandMeter meter_;
    std::optional<state::Journal> journal_;
    std::optional<TouchMeter> touches_;
    Signals signals_;
    std::chrono::steady_clock::time_point begun_;
    std::chrono::steady_clock::time_point stream_began_by_;  ///< else the source hangs
    std::chrono::steady_clock::time_point resumed_at_;
    // In the order in which they use each other.
    std::unique_ptr<ZeroPlacer> zeros_;
    bool small_pages_ = false;  ///< all RAM blocks have host pages of 4 KiB
    std::unique_ptr<UrgentRelay> to_qemu_urgent_;
    std::unique_ptr<ByteRelay> to_qemu_urgent_as_it_is_;  ///< instead, if it cannot be interrupted
    std::unique_ptr<StreamMerger> to_qemu_main_;
    std::unique_ptr<ByteRelay> from_qemu_;
    std::string stream_error_;  ///< why the stream broke, if it did
    std::string status_;        ///< of QEMU's migration, as its last event said
    std::chrono::steady_clock::time_point check_at_ = std::chrono::steady_clock::time_point::max();
    unsigned hangs_ = 0;        ///< how often in a row DestinationQemu::hangs()
    bool began_ = false;        ///< QEMU has the head of the stream
    bool state_given_ = false;  ///< QEMU has the whole package with the device state
    bool committed_ = false;
    bool interrupted_ = false;  ///< by a signal
    bool abandoned_ = false;    ///< the source has said that it keeps the VM
    bool runs_ = false;         ///< QEMU says that the VM runs
    bool resumed_ = false;      ///< the VM runs here, or stays paused as it was at the source
    bool completed_ = false;    ///< QEMU has everything
    bool source_gone_ = false;  ///< the control connection ended after commit
};

}  // namespace gc::receive
