// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/links.h"

#include <cerrno>
#include <cstring>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netlink/attr.h>
#include <span>
#include <sys/socket.h>

namespace gc::net {
namespace {

/// An IP address and, if it is link-local, the index of its link.
struct Address {
    int family = AF_INET;
    std::span<const std::byte> bytes;
    int scope = 0;
};

Result<Address> address_in(const sockaddr_storage& storage) {
    if (storage.ss_family == AF_INET) {
        const auto& ip = reinterpret_cast<const sockaddr_in&>(storage);
        return Address{AF_INET, std::as_bytes(std::span(&ip.sin_addr, 1)), 0};
    }
    if (storage.ss_family != AF_INET6)
        return fail(
            ErrorKind::unsupported,
            "the peer's address is neither IPv4 nor IPv6 (family {}), so there is no NIC to shape",
            storage.ss_family);
    const auto& ip = reinterpret_cast<const sockaddr_in6&>(storage);
    const auto bytes = std::as_bytes(std::span(&ip.sin6_addr, 1));
    if (IN6_IS_ADDR_V4MAPPED(&ip.sin6_addr))
        return Address{AF_INET, bytes.last(sizeof(in_addr)), 0};
    return Address{AF_INET6, bytes,
                   IN6_IS_ADDR_LINKLOCAL(&ip.sin6_addr) ? static_cast<int>(ip.sin6_scope_id) : 0};
}

void put(const Message& message, int type, const Address& address) {
    ::nla_put(message.get(), type, static_cast<int>(address.bytes.size()), address.bytes.data());
}

}  // namespace

Result<int> link_towards_peer(Netlink& netlink, int socket) {
    sockaddr_storage peer{};
    sockaddr_storage own{};
    socklen_t length = sizeof peer;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &length) < 0)
        return fail_errno(errno, "getpeername of the migration's connection");
    length = sizeof own;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &length) < 0)
        return fail_errno(errno, "getsockname of the migration's connection");
    GC_TRY(const Address to, address_in(peer));
    GC_TRY(const Address from, address_in(own));
    if (to.scope != 0)
        return to.scope;
    rtmsg header{};
    header.rtm_family = static_cast<unsigned char>(to.family);
    header.rtm_dst_len = static_cast<unsigned char>(to.bytes.size() * 8);
    header.rtm_src_len = static_cast<unsigned char>(from.bytes.size() * 8);
    const Message question = Netlink::message(RTM_GETROUTE, 0, header);
    put(question, RTA_DST, to);
    put(question, RTA_SRC, from);
    int index = 0;
    GC_TRY(const Answer answer, netlink.request(question, [&](nlmsghdr* route) {
        if (const nlattr* oif = ::nlmsg_find_attr(route, sizeof(rtmsg), RTA_OIF))
            index = static_cast<int>(::nla_get_u32(oif));
    }));
    GC_CHECK(answer.done("look up the route to the peer"));
    if (index == 0)
        return fail(ErrorKind::unsupported,
                    "the route to the peer names no NIC (does it have several next hops?); name "
                    "the NIC with --policy-dev NIC");
    return index;
}

}  // namespace gc::net
