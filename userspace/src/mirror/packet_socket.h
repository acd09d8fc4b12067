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
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <sys/socket.h>

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

    /// Before listen(): when() tells of each packet when the kernel saw it. Errors: io.
    Result<void> stamp();
    /// Packets are queued from here on, and can be sent. Errors: io.
    Result<void> listen();
    /// Packets can be sent; none is queued. Errors: io.
    Result<void> only_send();
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// A packet with its virtio header, or nullopt if none is queued. Errors: io (the device is
    /// gone).
    /// @param into max_packet bytes
    Result<std::optional<std::size_t>> receive(std::span<std::byte> into);
    /// Of the last packet that was received, with stamp().
    [[nodiscard]] std::chrono::system_clock::time_point when() const { return when_; }
    /// Never waits. @return false if the kernel does not take the packet
    bool send(std::span<const std::byte> packet) const;
    /// Packets that did not fit into the queue, since the last call.
    [[nodiscard]] std::uint64_t take_dropped() const;

  private:
    PacketSocket(UniqueFd fd, int device) : fd_(std::move(fd)), device_(device) {}
    void read_control(const cmsghdr& control, std::span<std::byte> packet, std::size_t& size);

    Result<void> bind(std::uint16_t protocol);

    UniqueFd fd_;
    int device_;
    std::chrono::system_clock::time_point when_{};
};

}  // namespace gc::mirror
