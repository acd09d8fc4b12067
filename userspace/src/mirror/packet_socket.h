// SPDX-License-Identifier: GPL-2.0-or-later
// A packet socket (packet(7)) on a device of any network namespace, whose packets have a virtio
// header before them: so GSO packets and checksums that are still to be computed stay as they are.
//
// No TPACKET_V3 ring: it hands a block over only when the block is full or after a jiffy or more,
// while a copy that comes late is of little use to the guide. The socket's queue holds references
// to the kernel's buffers, and copying happens in the reader, not on the VM's path.
#pragma once

#include "mirror/packet.h"
#include "util/error.h"
#include "util/fd.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace gc::mirror {

/// An Ethernet address.
using Mac = std::array<std::byte, 6>;
/// "52:54:00:12:34:56". @return nullopt if the text is none
[[nodiscard]] std::optional<Mac> parse_mac(std::string_view text);

class PacketSocket {
  public:
    /// What it receives, once listen() was called.
    enum class Receives : std::uint8_t {
        sent_to,  ///< what the host sends to the device with this destination address
        headers,  ///< the headers of what comes from the device
    };

    /// @param network_namespace that the device is in
    /// @param mac for Receives::sent_to
    /// Errors: unsupported (no CAP_NET_RAW, no such device), io.
    static Result<PacketSocket> open(int network_namespace, const std::string& device,
                                     Receives receives, const Mac& mac = {});

    /// Packets are queued from here on. Errors: io.
    Result<void> listen();
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// A packet with its virtio header, or nullopt if none is queued. Errors: io (the device is
    /// gone).
    /// @param into max_packet bytes
    Result<std::optional<std::size_t>> receive(std::span<std::byte> into);
    /// Never waits. @return false if the kernel does not take the packet
    bool send(std::span<const std::byte> packet) const;
    /// Packets that did not fit into the queue, since the last call.
    [[nodiscard]] std::uint64_t take_dropped() const;

  private:
    PacketSocket(UniqueFd fd, int device) : fd_(std::move(fd)), device_(device) {}
    UniqueFd fd_;
    int device_;
};

}  // namespace gc::mirror
