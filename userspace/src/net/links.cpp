// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/links.h"

#include "util/fd.h"

#include <algorithm>
#include <cerrno>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netlink/attr.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace gc::net {
namespace {

Link parse(nlmsghdr* header) {
    const auto* info = static_cast<ifinfomsg*>(::nlmsg_data(header));
    Link link{.index = info->ifi_index,
              .name = "",
              .kind = "",
              .arp_type = info->ifi_type,
              .lower = 0,
              .master = 0};
    nlattr* attributes[IFLA_MAX + 1];
    ::nlmsg_parse(header, sizeof *info, attributes, IFLA_MAX, nullptr);
    if (attributes[IFLA_IFNAME] != nullptr)
        link.name = ::nla_get_string(attributes[IFLA_IFNAME]);
    if (attributes[IFLA_MASTER] != nullptr)
        link.master = static_cast<int>(::nla_get_u32(attributes[IFLA_MASTER]));
    if (attributes[IFLA_LINKINFO] != nullptr) {
        nlattr* nested[IFLA_INFO_MAX + 1];
        ::nla_parse_nested(nested, IFLA_INFO_MAX, attributes[IFLA_LINKINFO], nullptr);
        if (nested[IFLA_INFO_KIND] != nullptr)
            link.kind = ::nla_get_string(nested[IFLA_INFO_KIND]);
    }
    // IFLA_LINK of a veth names its peer. Of any other link, it may be an index in another
    // namespace.
    if (link.kind == "vlan" && attributes[IFLA_LINK] != nullptr &&
        attributes[IFLA_LINK_NETNSID] == nullptr)
        link.lower = static_cast<int>(::nla_get_u32(attributes[IFLA_LINK]));
    return link;
}

/// Ports that lead out of the host, not to its VMs and containers.
bool leads_out(const Link& port) {
    return port.kind.empty() || port.kind == "bond" || port.kind == "team" || port.kind == "vlan";
}

Result<Link> port_of(const Links& all, const Link& bridge) {
    std::vector<Link> ports;
    std::ranges::copy_if(all, std::back_inserter(ports),
                         [&](const Link& link) { return link.master == bridge.index; });
    std::string names;
    for (const Link& port : ports)
        names += (names.empty() ? "" : ", ") + port.name;
    if (ports.size() > 1)
        std::erase_if(ports, [](const Link& port) { return !leads_out(port); });
    if (ports.size() == 1)
        return ports[0];
    return fail(ErrorKind::unsupported,
                "the peer is behind bridge {}, which has {} ports that lead out of this host (all "
                "ports: {}), expected one; name the NIC with --policy-dev NIC",
                bridge.name, ports.size(), names.empty() ? "none" : names);
}

}  // namespace

Result<Links> links(Netlink& netlink) {
    Links all;
    GC_TRY(const Answer answer,
           netlink.request(Netlink::message(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{}),
                           [&](nlmsghdr* header) { all.push_back(parse(header)); }));
    GC_CHECK(answer.done("list network devices"));
    return all;
}

Result<Link> find_link(const Links& all, std::string_view name) {
    const auto found = std::ranges::find(all, name, &Link::name);
    if (found == all.end())
        return fail(ErrorKind::usage,
                    "no network device '{}' in this network namespace; see ip link", name);
    return *found;
}

const Link* find_link(const Links& all, int index) {
    const auto found = std::ranges::find(all, index, &Link::index);
    return found == all.end() ? nullptr : &*found;
}

Result<bool> link_exists(int index) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    request.ifr_ifindex = index;
    if (::ioctl(socket.get(), SIOCGIFNAME, &request) == 0)
        return true;
    if (errno == ENODEV)
        return false;
    return fail_errno(errno, fmt::format("look up network device {}", index));
}

Result<void> set_up(Netlink& netlink, const Link& link) {
    ifinfomsg header{};
    header.ifi_index = link.index;
    header.ifi_flags = IFF_UP;
    header.ifi_change = IFF_UP;
    GC_TRY(const Answer answer,
           netlink.request(Netlink::message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, header)));
    return answer.done("set " + link.name + " up");
}

Result<ReceivedCount> received_by(Netlink& netlink, const Link& link) {
    ifinfomsg header{};
    header.ifi_index = link.index;
    rtnl_link_stats64 stats{};
    GC_TRY(const Answer answer,
           netlink.request(
               Netlink::message(RTM_GETLINK, NLM_F_REQUEST, header), [&](nlmsghdr* message) {
                   const nlattr* found = ::nlmsg_find_attr(message, sizeof header, IFLA_STATS64);
                   if (found != nullptr)
                       ::nla_memcpy(&stats, found, sizeof stats);
               }));
    GC_CHECK(answer.done("read the statistics of " + link.name));
    return ReceivedCount{stats.rx_packets, stats.rx_bytes};
}

Result<void> check_wire(const Link& link) {
    if (link.arp_type == ARPHRD_LOOPBACK)
        return fail(ErrorKind::unsupported,
                    "{} is the loopback device: its packets never leave this host, so there is no "
                    "NIC to shape",
                    link.name);
    if (link.arp_type != ARPHRD_ETHER)
        return fail(ErrorKind::unsupported,
                    "{} (ARP type {}) does not send Ethernet frames, which a traffic policy needs; "
                    "name the NIC below it",
                    link.name, link.arp_type);
    return {};
}

Result<Link> wire_of(const Links& all, const Link& by) {
    Link link = by;
    // VLANs and bridges can be stacked but not looped, so this is only a bound.
    for (std::size_t depth = 0; depth <= all.size(); ++depth) {
        if (const Link* lower = find_link(all, link.lower); link.lower != 0 && lower != nullptr) {
            link = Link(*lower);
        } else if (link.kind == "bridge") {
            GC_TRY(link, port_of(all, link));
        } else {
            break;
        }
    }
    GC_CHECK(check_wire(link));
    return link;
}

std::optional<std::uint64_t> speed_of(const std::string& name) {
    // Not /sys/class/net: it shows the devices of the namespace in which /sys was mounted.
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_cmd settings{};
    settings.cmd = ETHTOOL_GSET;
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&settings);
    if (::ioctl(socket.get(), SIOCETHTOOL, &request) < 0)
        return std::nullopt;
    const std::uint32_t megabits = ::ethtool_cmd_speed(&settings);
    if (megabits == 0 || megabits == static_cast<std::uint32_t>(SPEED_UNKNOWN) ||
        megabits == UINT16_MAX)
        return std::nullopt;
    constexpr std::uint64_t bytes_per_megabit = 1'000'000 / 8;
    return megabits * bytes_per_megabit;
}

}  // namespace gc::net
