// SPDX-License-Identifier: GPL-2.0-or-later
// The protocol between `gcctl migrate` and `gcctl receive`.
//
// Four TCP connections to one port. Each begins with the hello, one line of JSON:
//     {"guidecopy": 3, "channel": "control" | "main" | "bulk" | "urgent", "token": "32 hex digits"}
// "urgent" then carries QEMU's bytes only. "main" and "bulk" carry QEMU's main channel in frames,
// see frame.h: bulk has the pages that may wait, so that no other page queues behind them.
// "control" carries lines of JSON, each an object with a "type":
//     receive -> migrate
//         ready      {"qemu": "7.2.22", "preempt": true, "measure_ms": 0}
//                    the destination can take a VM; measure_ms is the minimum time for which it
//                    measures, and is absent if it does not measure
//         resumed    {}                 the VM runs at the destination
//         completed  {"demand": {...}}  QEMU reports completion; only measurements follow
//         refused    {"reason": "..."}  the VM has not run here and never will
//         failed     {"reason": "..."}  after commit: the VM needs its operator
//         touched    {"block": "pc.ram", "asked": false, "runs": [...]}, see measure/touched.h
//         measured   {"time_ms": 0.0, "unresolved": 0}, or {"problem": "..."}: end of measurements
//     migrate -> receive
//         commit     {"run": true}      from here on the source never runs again
//         abandon    {"reason": "..."}  the source continues; end the destination
// The token identifies the connections of one migration. It is not a secret.
#pragma once

#include "util/read_buffer.h"
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
/// Reads byte by byte up to the end of the line, so that the channel's own bytes stay in the
/// socket.
Result<Hello> receive_hello(int fd, std::chrono::milliseconds timeout);

/// A new random token.
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

    /// The next message, or nullopt if none arrives within the timeout.
    /// Errors: io (the peer closed the connection), protocol (not a JSON object with "type", or
    /// longer than max_line).
    Result<std::optional<nlohmann::json>> receive(std::chrono::milliseconds timeout);

    void close() { fd_.reset(); }

  private:
    Result<std::optional<nlohmann::json>> parse_line();

    UniqueFd fd_;
    ReadBuffer buffer_;
};

}  // namespace gc::peer
