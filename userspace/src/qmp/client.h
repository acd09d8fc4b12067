// SPDX-License-Identifier: GPL-2.0-or-later
// QMP, QEMU's control protocol: one JSON object per line over a unix socket
// (docs/interop/qmp-spec).
#pragma once

#include "util/deadline.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/read_buffer.h"

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace gc::qmp {

struct Version {
    int major = 0;
    int minor = 0;
    int micro = 0;
    std::string package;  ///< the distribution's suffix, e.g. "Debian 1:7.2+dfsg-7"; may be empty

    [[nodiscard]] bool at_least(int want_major, int want_minor) const {
        return major != want_major ? major > want_major : minor >= want_minor;
    }
    [[nodiscard]] std::string text() const;  ///< "7.2.22 (Debian 1:7.2+dfsg-7)"
};

struct Event;  // qmp/event.h

/// Takes a command to QEMU, a JSON object without an id, and returns QEMU's reply to it.
using Carrier = std::function<Result<std::string>(const std::string& command)>;

/// A QMP connection. Move-only; must not be used by several threads at once.
///
/// Errors of all calls: io (lost connection, timeout), protocol (the peer does not speak QMP; the
/// connection is then unusable and further calls repeat the error), unsupported (QEMU rejected the
/// command; the message has QEMU's class and text, and the connection remains usable).
class Client {
  public:
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;
    ~Client();

    static constexpr std::chrono::milliseconds default_timeout{10'000};

    /// Connects, reads the greeting and completes capability negotiation. The timeout covers all of
    /// it.
    static Result<Client> connect(const std::string& unix_path,
                                  std::chrono::milliseconds timeout = default_timeout);
    /// The same, so that execute_out_of_band() works.
    static Result<Client> connect_out_of_band(const std::string& unix_path,
                                              std::chrono::milliseconds timeout = default_timeout);

    /// Does the same over a connected stream socket. @param name names the peer in error messages
    static Result<Client> from_fd(UniqueFd fd, std::chrono::milliseconds timeout = default_timeout,
                                  std::string name = "QMP socket");

    /// For a monitor whose only client is somebody else, who carries commands. There are no events,
    /// no descriptors can be passed, and fd() is -1.
    /// @param qemu QEMU's process
    static Result<Client> over(Carrier carrier, pid_t qemu, std::string name);

    [[nodiscard]] const Version& version() const { return version_; }
    [[nodiscard]] const std::string& name() const { return name_; }

    /// Runs a command and returns the value of "return". After a timeout the command may still take
    /// effect; its late reply is recognised by its id and dropped.
    Result<nlohmann::json> execute(std::string_view command, nlohmann::json arguments,
                                   std::chrono::milliseconds timeout = default_timeout);
    /// A command without arguments.
    Result<nlohmann::json> execute(std::string_view command);
    /// Does not wait for QEMU's main loop, which may itself wait for a page that is missing. Few
    /// commands can do that ("allow-oob" in QEMU's schema).
    Result<nlohmann::json> execute_out_of_band(std::string_view command, nlohmann::json arguments);
    /// Sends a command that QEMU may not get to for long, and does not wait for its reply, which is
    /// dropped: whether it worked, its effect has to show. Later commands are run after it.
    Result<void> post(std::string_view command);

    /// Gives QEMU a duplicate of a descriptor (`getfd`), which later commands of this connection
    /// call "fd:NAME". A descriptor of that name that QEMU already has is closed.
    Result<void> pass_fd(std::string_view name, int fd);

    /// Runs a command of the human monitor and returns its text (lines end in "\r\n" or "\n").
    Result<std::string> hmp(std::string_view line);

    /// The oldest queued event, or nullopt if none arrives within the timeout. 0 does not wait.
    Result<std::optional<Event>> next_event(std::chrono::milliseconds timeout);

    /// Whether an event is queued. Check this before polling fd(), which is silent about queued
    /// events.
    [[nodiscard]] bool has_event() const;
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// The process that listens at the other end (SO_PEERCRED). This is the process that called
    /// listen(2): a manager that passes a listening socket to QEMU, as libvirt does, is reported
    /// instead of QEMU. Of a client that is over() a carrier, QEMU's.
    [[nodiscard]] Result<pid_t> peer_pid() const;

  private:
    struct Inbox;  ///< received and not yet consumed
    Client(UniqueFd fd, std::string name);

    Result<void> negotiate(std::chrono::milliseconds timeout, bool out_of_band = false);
    Result<void> accept_greeting(const nlohmann::json& message);
    Result<nlohmann::json> await_reply(std::string_view command, Deadline deadline);
    Result<void> send_command(std::string_view kind, std::string_view command,
                              nlohmann::json arguments, Deadline deadline, int passed_fd);
    Result<nlohmann::json> execute_carried(std::string_view command, nlohmann::json arguments);
    /// The value of "return". Errors: unsupported.
    [[nodiscard]] Result<nlohmann::json> value_of(std::string_view command,
                                                  nlohmann::json reply) const;
    Result<nlohmann::json> execute_with(std::string_view command, nlohmann::json arguments,
                                        Deadline deadline, int passed_fd,
                                        std::string_view kind = "execute");
    Result<void> send(std::string_view text, Deadline deadline, int passed_fd = -1);
    Result<bool> wait(short events, Deadline deadline);
    Result<bool> pump(Deadline deadline);
    Result<void> dispatch(std::string_view line);
    Result<void> take_event(nlohmann::json message);
    Unexpected broken(Unexpected error);

    UniqueFd fd_;
    std::string name_;
    Version version_;
    ReadBuffer buffer_;
    std::unique_ptr<Inbox> inbox_;
    std::optional<Error> broken_;
    std::uint64_t last_id_ = 0;
    Carrier carrier_;  ///< instead of fd_
    pid_t qemu_ = -1;  ///< likewise
};

}  // namespace gc::qmp
