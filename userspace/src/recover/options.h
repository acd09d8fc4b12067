// SPDX-License-Identifier: GPL-2.0-or-later
// What `gcctl recover` takes from the command line of `gcctl migrate` and `gcctl receive`.
#pragma once

#include "migrate/ssh.h"
#include "peer/security.h"
#include "recover/voice.h"
#include "util/socket.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace gc::recover {

struct Options {
    std::string qmp;
    Endpoint address;                             ///< to connect to, or to listen on
    std::optional<migrate::SshOptions> ssh = {};  ///< source: starts the destination's gcctl
    bool ends_with_stdin = false;                 ///< destination: it was started through ssh
    peer::Security listening = {};                ///< destination
    peer::SecurityOptions security = {};          ///< source
    std::chrono::milliseconds connect_timeout{10'000};
    std::uint64_t bandwidth = 0;  ///< bytes per second; 0 means no limit
    bool kill_source = false;
    std::vector<std::string> arguments = {};
    Voice voice;
};

}  // namespace gc::recover
