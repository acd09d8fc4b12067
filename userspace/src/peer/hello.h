// SPDX-License-Identifier: GPL-2.0-or-later
// The first line of each channel, and how two gcctls agree on a version of the protocol.
//
// Each hello names a range of versions. Both ends use the newest one that both know. Version 3 knew
// no ranges: it wants exactly "guidecopy": 3, and ignores all members that it does not know. So
// "guidecopy" is the oldest version that the sender speaks, and "newest" the newest.
#pragma once

#include "peer/connection.h"
#include "peer/message.h"
#include "util/deadline.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace gc::peer {

inline constexpr int oldest_version = 3;
inline constexpr int newest_version = 10;
/// From this version on, the channels travel in records (peer/record.h) and can be resumed.
inline constexpr int records_version = 5;
/// From this version on, `ready` describes the destination's VM.
inline constexpr int facts_version = 6;
/// From this version on, there is a channel `mirror`, and `ready` names the NICs it can serve.
inline constexpr int mirror_version = 7;
/// From this version on, runs of zero pages may be told in frames of bulk (peer/zero_runs.h).
inline constexpr int zeros_version = 8;
/// From this version on, `ready` names compressions, and frames may be compressed (peer/frame.h).
inline constexpr int compression_version = 9;
/// From this version on, there is a channel `forward`.
inline constexpr int forward_version = 10;

enum class ChannelId : std::uint8_t { control, main, bulk, urgent, mirror, forward };
inline constexpr std::array channel_ids{ChannelId::control, ChannelId::main,   ChannelId::bulk,
                                        ChannelId::urgent,  ChannelId::mirror, ChannelId::forward};
inline constexpr std::size_t channel_count = channel_ids.size();
[[nodiscard]] std::string_view name(ChannelId channel);

/// Identifies the channels of one migration.
using Token = std::array<std::byte, 16>;

struct Hello {
    ChannelId channel = ChannelId::control;
    Token token{};
    int oldest = oldest_version;
    int newest = newest_version;
    bool resume = false;  ///< of a channel that had a connection before
};

/// Random. Errors: io.
Result<Token> make_token();

Result<void> send_hello(Connection& to, const Hello& hello);
/// Reads up to the end of the line and no further. Errors: protocol, io (also at the deadline).
Result<Hello> receive_hello(Connection& from, Deadline deadline);

/// Of the refusal by a destination that is at work on another VM: the source may come later.
inline constexpr std::string_view busy_reason = "busy with a migration from";

/// The answer to the hello of control, a line: `ready` or `refused`. Only then is it known whether
/// records follow.
Result<void> send_answer(Connection& to, const Message& answer);
/// Reads up to the end of the line and no further. Skips messages of later versions. Errors:
/// protocol, io (also at the deadline).
Result<Message> receive_answer(Connection& from, Deadline deadline);

/// The version that both ends use. Errors: protocol, naming both ranges.
Result<int> agree(const Hello& hello);

}  // namespace gc::peer
