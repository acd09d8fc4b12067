// SPDX-License-Identifier: GPL-2.0-or-later
// What `gcctl migrate` and `gcctl receive` say to each other.
//
// Four TCP connections to one port. Each begins with one line of JSON, the hello:
//     {"guidecopy": 3, "channel": "control" | "main" | "bulk" | "urgent", "token": "32 hex digits"}
// After it "urgent" carries QEMU's bytes and nothing else. "main" and "bulk" carry its main channel
// in frames, see frame.h: bulk the pages that may wait, so that no other has to wait behind them.
// "control" goes on with lines of JSON, each an object with "type":
//     receive -> migrate
//         ready      {"qemu": "7.2.22", "preempt": true, "measure_ms": 0}
//                    the destination can take a VM; it measures, for so long at least, or it does
//                    not say so
//         resumed    {}                 the VM runs at the destination
//         completed  {"demand": {...}}  QEMU says completed; only measurements come after it
//         refused    {"reason": "..."}  the VM never ran here and never will
//         failed     {"reason": "..."}  after commit: the VM needs its operator
//         touched    {"block": "pc.ram", "asked": false, "runs": [...]}, see measure/touched.h
//         measured   {"time_ms": 0.0, "unresolved": 0}, or {"problem": "..."}: all was told
//     migrate -> receive
//         commit     {"run": true}      from here on the source never runs again
//         abandon    {"reason": "..."}  the source runs on; end the destination
// The token ties the connections of one migration together; it is no secret.
#pragma once

#include "util/socket.h"

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace gc::peer {

inline constexpr int protocol_version = 3;
inline constexpr std::size_t max_line = std::size_t{64} * 1024;

enum class Channel { control, main, bulk, urgent };

struct Hello {
    Channel channel = Channel::control;
    std::string token;
};

[[nodiscard]] std::string_view name(Channel channel);

Result<void> send_hello(int fd, const Hello& hello);
/// Reads byte by byte up to the line's end, so that the channel's own bytes stay in the socket.
Result<Hello> receive_hello(int fd, std::chrono::milliseconds timeout);

/// A fresh random token.
Result<std::string> make_token();

/// One end of the control connection. Single-threaded.
class Control {
  public:
    explicit Control(UniqueFd fd) : fd_(std::move(fd)) {}

    [[nodiscard]] int fd() const { return fd_.get(); }

    /// Sends {"type": type, ...fields}. Errors: io.
    Result<void> send(std::string_view type, nlohmann::json fields);
    /// A message without fields.
    Result<void> send(std::string_view type);

    /// The next message that arrives within the timeout; nullopt when none did.
    /// Errors: io (the peer is gone), protocol (not a JSON object with "type", or over max_line).
    Result<std::optional<nlohmann::json>> receive(std::chrono::milliseconds timeout);

    void close() { fd_.reset(); }

  private:
    Result<std::optional<nlohmann::json>> parse_line();

    UniqueFd fd_;
    std::string buffer_;
};

}  // namespace gc::peer
