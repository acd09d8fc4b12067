// SPDX-License-Identifier: GPL-2.0-or-later
// The messages of the control channel: what they hold, and their form on the wire.
//
// A message is a line of JSON of at most max_line bytes: an object with "type", the name of a
// struct below in lower case, and the struct's members. Members that a receiver does not know are
// ignored, so that later versions can add some. peer/conversation.h says when a message may come.
#pragma once

#include "measure/touched.h"
#include "peer/compression.h"
#include "peer/vm_facts.h"
#include "report/report.h"
#include "util/error.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace gc::peer {

inline constexpr std::size_t max_line = std::size_t{64} * 1024;

using Digest = std::array<std::byte, 32>;

// ---- receive -> migrate

/// Of which NICs the destination can show the guide what arrives for the VM.
struct MirrorOffer {
    std::vector<std::string> nics;  ///< their MACs
    std::string reason;             ///< why not of others, or of none; empty if all are there
};

/// The destination can take a VM.
struct Ready {
    int version = 3;  ///< of the protocol, for this migration; absent in version 3
    std::string qemu;
    bool preempt = false;                              ///< its QEMU has postcopy-preempt
    std::optional<std::chrono::milliseconds> measure;  /**< "measure_ms": it measures, for at
                                                            least this long */
    std::optional<Digest> seal;                        ///< see peer/refusal.h; absent in version 3
    std::optional<VmFacts> vm = std::nullopt;          ///< since version 6
    std::optional<MirrorOffer> mirror = std::nullopt;  ///< since version 7
    /// That the destination can undo; since version 9.
    std::vector<Compression> compressions = {};
};
/// The VM runs at the destination, or is there paused as it was.
struct Resumed {};
/// What became of the packets that the source forwarded.
struct Delivered {
    std::uint64_t packets = 0;  ///< that the VM's taps took
    std::uint64_t refused = 0;
};
/// QEMU has all of the VM. Only measurements follow.
struct Completed {
    std::optional<report::DemandReport> demand;
    std::string problem;  ///< why `demand` is not right; empty if it is
    std::optional<report::QemuPostcopyReport> qemu = std::nullopt;  ///< since QEMU 10.1
    std::optional<Delivered> delivered = std::nullopt;              ///< since version 10
};
/// The VM has not run here and never will; its QEMU has ended.
struct Refused {
    std::string reason;
    std::optional<Digest> proof;  ///< opens the seal; absent in version 3
};
/// A failure after the commit: the VM needs its operator.
struct Failed {
    std::string reason;
};
/// Pages that the VM touched, of those that split() made of one measure::Touched.
struct Touched {
    measure::Touched pages;
};
/// The end of the measurement: either figures or a problem.
struct Measured {
    double time_ms = 0;
    std::uint64_t unresolved = 0;
    std::string problem;
};

// ---- migrate -> receive

/// From here on the source never runs again.
struct Commit {
    bool run = true;  ///< start the VM; false: leave it paused, as it was at the source
};
/// The source keeps the VM: end the destination QEMU.
struct Abandon {
    std::string reason;
};

using Message =
    std::variant<Ready, Resumed, Completed, Refused, Failed, Touched, Measured, Commit, Abandon>;

/// The alternatives of Message, in its order.
enum class MessageType : std::uint8_t {
    ready,
    resumed,
    completed,
    refused,
    failed,
    touched,
    measured,
    commit,
    abandon,
};
inline constexpr std::size_t message_types = std::variant_size_v<Message>;

[[nodiscard]] inline MessageType type_of(const Message& message) {
    return static_cast<MessageType>(message.index());
}
[[nodiscard]] std::string_view name(MessageType type);

/// The line, with its '\n'.
[[nodiscard]] std::string encode(const Message& message);

/// @param line without its '\n'. Any bytes: never throws.
/// @return nullopt for a type of a later version
/// Errors: protocol (no JSON object, invalid UTF-8, no type, a member that is missing or of the
/// wrong type).
[[nodiscard]] Result<std::optional<Message>> decode(std::string_view line);

/// Messages that are short enough for a line each.
[[nodiscard]] std::vector<Touched> split(const measure::Touched& pages);

}  // namespace gc::peer
