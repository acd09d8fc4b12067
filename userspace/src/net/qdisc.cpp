// SPDX-License-Identifier: GPL-2.0-or-later
#include "net/qdisc.h"

#include <cerrno>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

namespace gc::net {
namespace {

tcmsg header_of(int link, std::uint32_t parent, std::uint32_t handle) {
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = link;
    header.tcm_parent = parent;
    header.tcm_handle = handle;
    return header;
}

Qdisc parse(nlmsghdr* message, const tcmsg& header) {
    Qdisc qdisc;
    qdisc.handle = header.tcm_handle;
    qdisc.parent = header.tcm_parent;
    nlattr* attributes[TCA_MAX + 1];
    ::nlmsg_parse(message, sizeof header, attributes, TCA_MAX, nullptr);
    if (attributes[TCA_KIND] != nullptr)
        qdisc.kind = ::nla_get_string(attributes[TCA_KIND]);
    if (const nlattr* options = attributes[TCA_OPTIONS]) {
        const auto* data = static_cast<const std::byte*>(::nla_data(options));
        qdisc.options.assign(data, data + ::nla_len(options));
        qdisc.has_options = true;
    }
    qdisc.has_extras = attributes[TCA_STAB] != nullptr ||
                       attributes[TCA_INGRESS_BLOCK] != nullptr ||
                       attributes[TCA_EGRESS_BLOCK] != nullptr;
    return qdisc;
}

Filter parse_filter(nlmsghdr* message, const tcmsg& header) {
    Filter filter;
    filter.priority = header.tcm_info >> 16;
    filter.handle = header.tcm_handle;
    nlattr* attributes[TCA_MAX + 1];
    ::nlmsg_parse(message, sizeof header, attributes, TCA_MAX, nullptr);
    if (attributes[TCA_KIND] != nullptr)
        filter.kind = ::nla_get_string(attributes[TCA_KIND]);
    if (attributes[TCA_CHAIN] != nullptr)
        filter.chain = ::nla_get_u32(attributes[TCA_CHAIN]);
    return filter;
}

}  // namespace

std::string name_of(const Qdisc& qdisc) {
    return fmt::format("{} {:x}:", qdisc.kind, qdisc.handle >> 16);
}

Result<std::vector<Qdisc>> qdiscs(Netlink& netlink, int link) {
    std::vector<Qdisc> found;
    // The kernel lists the qdiscs of all links.
    GC_TRY(const Answer answer,
           netlink.request(Netlink::message(RTM_GETQDISC, NLM_F_DUMP, header_of(link, 0, 0)),
                           [&](nlmsghdr* message) {
                               const auto* header = static_cast<tcmsg*>(::nlmsg_data(message));
                               if (header->tcm_ifindex == link)
                                   found.push_back(parse(message, *header));
                           }));
    GC_CHECK(answer.done("list qdiscs"));
    return found;
}

Result<Answer> put_qdisc(Netlink& netlink, int link, const Qdisc& qdisc) {
    const Message message =
        Netlink::message(RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
                         header_of(link, qdisc.parent, qdisc.handle));
    ::nla_put_string(message.get(), TCA_KIND, qdisc.kind.c_str());
    if (qdisc.has_options)
        ::nla_put(message.get(), TCA_OPTIONS, static_cast<int>(qdisc.options.size()),
                  qdisc.options.data());
    return netlink.request(message);
}

Result<Answer> remove_root_qdisc(Netlink& netlink, int link) {
    return netlink.request(
        Netlink::message(RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK, header_of(link, TC_H_ROOT, 0)));
}

Result<void> remove_clsact(Netlink& netlink, int link) {
    GC_TRY(const Answer answer, netlink.request(Netlink::message(
                                    RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK,
                                    header_of(link, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0)))));
    return answer.done("remove the clsact qdisc");
}

Result<std::vector<Filter>> filters(Netlink& netlink, int link, std::uint32_t parent) {
    std::vector<Filter> found;
    GC_TRY(const Answer answer,
           netlink.request(Netlink::message(RTM_GETTFILTER, NLM_F_DUMP, header_of(link, parent, 0)),
                           [&](nlmsghdr* message) {
                               const auto* header = static_cast<tcmsg*>(::nlmsg_data(message));
                               // The head of a chain has handle 0 and is not a filter.
                               if (header->tcm_handle != 0)
                                   found.push_back(parse_filter(message, *header));
                           }));
    // The qdisc takes no filters.
    if (answer.error == EOPNOTSUPP || answer.error == EINVAL || answer.error == ENOENT)
        return std::vector<Filter>();
    GC_CHECK(answer.done("list filters"));
    return found;
}

}  // namespace gc::net
