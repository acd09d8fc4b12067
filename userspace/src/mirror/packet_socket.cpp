// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/packet_socket.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace gc::mirror {
namespace {

/// Of the kernel's memory. A packet of 100 bytes takes about 800.
constexpr int queue_bytes = 8 << 20;

sock_filter statement(std::uint16_t code, std::uint32_t value) {
    return {code, 0, 0, value};
}

/// Unless equal: drop, which is the statement after the last one.
sock_filter unless_equal(std::uint32_t value, std::uint8_t to_drop) {
    return {BPF_JMP | BPF_JEQ | BPF_K, 0, to_drop, value};
}

std::uint32_t number(std::span<const std::byte> bytes) {
    std::uint32_t value = 0;
    for (const std::byte byte : bytes)
        value = value << 8 | std::to_integer<std::uint32_t>(byte);
    return value;
}

std::vector<sock_filter> filter_of(PacketSocket::Receives receives, const Mac& mac) {
    constexpr auto type = static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE);
    constexpr std::uint16_t load_byte = BPF_LD | BPF_B | BPF_ABS;
    if (receives == PacketSocket::Receives::headers)
        return {statement(load_byte, type),
                {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, PACKET_OUTGOING},
                statement(BPF_RET | BPF_K, max_headers),
                statement(BPF_RET | BPF_K, 0)};
    const std::span bytes(mac);
    return {statement(load_byte, type),
            unless_equal(PACKET_OUTGOING, 5),
            statement(BPF_LD | BPF_W | BPF_ABS, 0),
            unless_equal(number(bytes.first<4>()), 3),
            statement(BPF_LD | BPF_H | BPF_ABS, 4),
            unless_equal(number(bytes.last<2>()), 1),
            statement(BPF_RET | BPF_K, max_packet),
            statement(BPF_RET | BPF_K, 0)};
}

Result<void> set(int fd, int level, int option, int value, std::string_view what) {
    if (::setsockopt(fd, level, option, &value, sizeof value) < 0)
        return fail_errno(errno, fmt::format("a packet socket: {}", what));
    return {};
}

Result<UniqueFd> make_socket(PacketSocket::Receives receives, const Mac& mac) {
    // Of no protocol: it receives nothing until it is bound.
    UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd)
        return fail(errno == EPERM ? ErrorKind::unsupported : ErrorKind::io,
                    "make a packet socket: {}; run as root (CAP_NET_RAW)", std::strerror(errno));
    GC_CHECK(set(fd.get(), SOL_PACKET, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR"));
    GC_CHECK(set(fd.get(), SOL_PACKET, PACKET_AUXDATA, 1, "PACKET_AUXDATA"));
    if (receives == PacketSocket::Receives::headers)
        GC_CHECK(set(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS"));
    // Without CAP_NET_ADMIN the queue has the size of any socket's.
    if (!set(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, queue_bytes, "SO_RCVBUFFORCE"))
        (void)set(fd.get(), SOL_SOCKET, SO_RCVBUF, queue_bytes, "SO_RCVBUF");
    std::vector<sock_filter> filter = filter_of(receives, mac);
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        return fail_errno(errno, "a packet socket: SO_ATTACH_FILTER");
    return fd;
}

}  // namespace

std::optional<Mac> parse_mac(std::string_view text) {
    Mac mac{};
    if (text.size() != 3 * mac.size() - 1)
        return std::nullopt;
    for (std::size_t i = 0; i < mac.size(); ++i) {
        unsigned value = 0;
        for (const char digit : text.substr(3 * i, 2)) {
            const std::string_view digits = "0123456789abcdef";
            const auto at = digits.find(static_cast<char>(digit | 0x20));
            if (at == std::string_view::npos)
                return std::nullopt;
            value = value << 4 | static_cast<unsigned>(at);
        }
        if (i > 0 && text[3 * i - 1] != ':')
            return std::nullopt;
        mac[i] = static_cast<std::byte>(value);
    }
    return mac;
}

Result<PacketSocket> PacketSocket::open(int network_namespace, const std::string& device,
                                        Receives receives, const Mac& mac) {
    Result<UniqueFd> fd;
    unsigned index = 0;
    // A thread of its own: a socket belongs to the namespace of the thread that makes it.
    std::thread([&] {
        if (::setns(network_namespace, CLONE_NEWNET) < 0) {
            fd = fail(ErrorKind::unsupported, "enter the network namespace of '{}': {}", device,
                      std::strerror(errno));
            return;
        }
        index = ::if_nametoindex(device.c_str());
        fd = index != 0 ? make_socket(receives, mac)
                        : fail(ErrorKind::unsupported, "no network device '{}'", device);
    }).join();
    if (!fd)
        return Unexpected(fd.error());
    return PacketSocket(*std::move(fd), static_cast<int>(index));
}

Result<void> PacketSocket::stamp() {
    return set(fd_.get(), SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
}

Result<void> PacketSocket::listen() {
    return bind(ETH_P_ALL);
}

Result<void> PacketSocket::only_send() {
    return bind(0);
}

Result<void> PacketSocket::bind(std::uint16_t protocol) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = device_;
    if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        return fail_errno(errno, "bind a packet socket");
    return {};
}

Result<std::optional<std::size_t>> PacketSocket::receive(std::span<std::byte> into) {
    constexpr std::size_t room = CMSG_SPACE(sizeof(tpacket_auxdata)) + CMSG_SPACE(sizeof(timespec));
    alignas(cmsghdr) std::array<std::byte, room> control{};
    iovec part{into.data(), into.size() - tag_size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return std::nullopt;
    if (got < 0)
        return fail_errno(errno, "receive on a packet socket");
    auto size = static_cast<std::size_t>(got);
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr;
         each = CMSG_NXTHDR(&message, each))
        read_control(*each, into, size);
    return size;
}

void PacketSocket::read_control(const cmsghdr& control, std::span<std::byte> packet,
                                std::size_t& size) {
    if (control.cmsg_level == SOL_SOCKET && control.cmsg_type == SCM_TIMESTAMPNS) {
        timespec stamp{};
        std::memcpy(&stamp, CMSG_DATA(&control), sizeof stamp);
        when_ = std::chrono::system_clock::time_point(std::chrono::seconds(stamp.tv_sec) +
                                                      std::chrono::nanoseconds(stamp.tv_nsec));
    }
    if (control.cmsg_level != SOL_PACKET || control.cmsg_type != PACKET_AUXDATA)
        return;
    tpacket_auxdata data{};
    std::memcpy(&data, CMSG_DATA(&control), sizeof data);
    if ((data.tp_status & TP_STATUS_VLAN_VALID) == 0 || size < virtio_header + 12)
        return;
    const bool has_protocol = (data.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
    insert_tag(packet, size, has_protocol ? data.tp_vlan_tpid : ETH_P_8021Q, data.tp_vlan_tci);
    size += tag_size;
}

bool PacketSocket::send(std::span<const std::byte> packet) const {
    return ::send(fd_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(packet.size());
}

std::uint64_t PacketSocket::take_dropped() const {
    tpacket_stats counts{};
    socklen_t size = sizeof counts;
    return ::getsockopt(fd_.get(), SOL_PACKET, PACKET_STATISTICS, &counts, &size) == 0
               ? counts.tp_drops
               : 0;
}

}  // namespace gc::mirror
