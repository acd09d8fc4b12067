// SPDX-License-Identifier: GPL-2.0-or-later
// `gcctl migrate --to ssh://...`: starts `gcctl receive` on the destination host.
#pragma once

#include "tls/credentials.h"
#include "util/deadline.h"
#include "util/fd.h"
#include "util/socket.h"

#include <string>
#include <string_view>
#include <sys/types.h>

namespace gc::migrate {

/// "ssh://[USER@]HOST[:PORT]/PATH/TO/QMP"
struct SshTarget {
    std::string login;  ///< "USER@HOST" or "HOST": what ssh(1) calls the destination
    std::string port;   ///< empty: ssh's default
    std::string qmp;    ///< absolute path of the QMP socket on that host

    static bool is_ssh(std::string_view text) { return text.starts_with("ssh://"); }
    /// Errors: usage.
    static Result<SshTarget> parse(std::string_view text);
};

struct SshOptions {
    SshTarget target;
    std::string ssh = "ssh";          ///< with arguments of its own, separated by spaces
    std::string gcctl = "gcctl";      ///< the program on the destination host
    std::string command = "receive";  ///< of that gcctl
};

/// The command that ssh has to run, for the shell of the destination host.
[[nodiscard]] std::string remote_command(const SshOptions& options);

/// A `gcctl receive` on another host. It gets a one-time key through ssh, which both ends then
/// prove to know to each other: nothing else has to be set up. The VM itself does not pass through
/// ssh.
class RemoteReceive {
  public:
    /// Starts ssh, which may ask the user on the terminal, and waits until that gcctl listens.
    /// Errors: io, unsupported; ssh and that gcctl say more on standard error.
    static Result<RemoteReceive> start(const SshOptions& options, Deadline deadline);

    RemoteReceive(RemoteReceive&& other) noexcept;
    RemoteReceive& operator=(RemoteReceive&& other) = delete;
    /// Lets that gcctl end, which it does unless a VM has begun to arrive, and waits a moment for
    /// ssh.
    ~RemoteReceive();

    [[nodiscard]] const Endpoint& listens_at() const { return listens_at_; }
    [[nodiscard]] const tls::Credentials& credentials() const { return credentials_; }

  private:
    RemoteReceive(pid_t pid, UniqueFd input, UniqueFd output, tls::Credentials credentials)
        : pid_(pid), input_(std::move(input)), output_(std::move(output)),
          credentials_(std::move(credentials)) {}
    Result<void> await_listening(const std::string& login, Deadline deadline);

    pid_t pid_ = -1;
    UniqueFd input_;   ///< of ssh
    UniqueFd output_;  ///< of ssh; kept open, so that what it says later is not an error there
    tls::Credentials credentials_;
    Endpoint listens_at_;
};

}  // namespace gc::migrate
