// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/hook.h"

#include "net/qdisc.h"

#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cerrno>
#include <cstring>
#include <linux/pkt_sched.h>

namespace gc::policy {
namespace {

// From linux/bpf.h since 6.6, which Debian 12's libbpf and headers do not have.
constexpr int tcx_egress = 47;
constexpr std::uint32_t before_all = 1U << 3;  ///< BPF_F_BEFORE without a reference program

/// The handle of our filter. Its priority is the first that accepts a cls_bpf filter for all
/// protocols.
constexpr std::uint32_t own_handle = 0x6763;
constexpr std::uint32_t last_priority = 16;

struct TcxLinkInfo {  // the part of struct bpf_link_info that tcx links fill
    std::uint32_t type, id, program, pad;
    std::uint32_t ifindex, attach_type;
    std::uint64_t rest[8];
};

std::uint32_t program_id(int program) {
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    if (::bpf_obj_get_info_by_fd(program, &info, &length) < 0)
        return 0;
    return info.id;
}

/// @return the priority of our filter with this program, or nullopt
std::optional<std::uint32_t> find_filter(int program, int link) {
    // libbpf reports each missing filter on standard error.
    ::libbpf_set_print(nullptr);
    const std::uint32_t id = program_id(program);
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = link, .attach_point = BPF_TC_EGRESS);
    for (std::uint32_t priority = 1; priority <= last_priority; ++priority) {
        LIBBPF_OPTS(bpf_tc_opts, options, .handle = own_handle, .priority = priority);
        if (::bpf_tc_query(&hook, &options) == 0 && options.prog_id == id)
            return priority;
    }
    return std::nullopt;
}

}  // namespace

Result<std::optional<TcxLink>> attach_tcx(int program, int link) {
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = before_all);
    UniqueFd fd(
        ::bpf_link_create(program, link, static_cast<bpf_attach_type>(tcx_egress), &options));
    if (fd)
        return TcxLink{std::move(fd)};
    if (errno == EINVAL)
        return std::nullopt;
    return fail_errno(errno, "attach the program with tcx");
}

bool tcx_alive(int link_fd) {
    TcxLinkInfo info{};
    std::uint32_t length = sizeof info;
    return ::bpf_obj_get_info_by_fd(link_fd, &info, &length) == 0 && info.ifindex != 0;
}

Result<bool> has_clsact(net::Netlink& netlink, int link) {
    GC_TRY(const auto qdiscs, net::qdiscs(netlink, link));
    return std::ranges::find(qdiscs, "clsact", &net::Qdisc::kind) != qdiscs.end();
}

Result<void> attach_clsact(int program, int link) {
    ::libbpf_set_print(nullptr);
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = link,
                .attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS));
    int error = -::bpf_tc_hook_create(&hook);
    if (error == ENOENT)
        return fail(ErrorKind::unsupported, "the kernel has no clsact qdisc: modprobe sch_ingress");
    if (error != 0 && error != EEXIST)
        return fail_errno(error, "create the clsact qdisc");
    hook.attach_point = BPF_TC_EGRESS;
    for (std::uint32_t priority = 1; priority <= last_priority; ++priority) {
        LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = program, .handle = own_handle,
                    .priority = priority);
        error = -::bpf_tc_attach(&hook, &options);
        // The priority is taken by filters of another kind or protocol, or by one with our handle.
        if (error != EINVAL && error != EEXIST)
            break;
    }
    if (error == ENOENT)
        return fail(ErrorKind::unsupported,
                    "the kernel rejects BPF filters at clsact: modprobe cls_bpf (or an 'ingress' "
                    "qdisc is in the place of clsact: tc qdisc show)");
    if (error != 0)
        return fail_errno(error, "add the filter to clsact");
    return {};
}

bool clsact_attached(int program, int link) {
    return find_filter(program, link).has_value();
}

Result<std::string> filters_before(net::Netlink& netlink, int program, int link) {
    const auto own = find_filter(program, link);
    GC_TRY(const auto filters,
           net::filters(netlink, link, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)));
    std::string before;
    for (const net::Filter& filter : filters) {
        if (filter.chain != 0)
            continue;
        if (filter.priority == own && filter.handle == own_handle)
            break;
        before += fmt::format("{}{} of priority {}", before.empty() ? "" : ", ", filter.kind,
                              filter.priority);
    }
    return own ? before : "";
}

Result<void> detach_clsact(net::Netlink& netlink, int program, int link, bool own_clsact) {
    if (const auto priority = program < 0 ? std::nullopt : find_filter(program, link)) {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = link, .attach_point = BPF_TC_EGRESS);
        LIBBPF_OPTS(bpf_tc_opts, options, .handle = own_handle, .priority = *priority);
        if (const int error = -::bpf_tc_detach(&hook, &options); error != 0 && error != ENOENT)
            return fail_errno(error, "remove the filter from clsact");
    }
    GC_TRY(const bool present, has_clsact(netlink, link));
    if (!own_clsact || !present)
        return {};
    for (const std::uint32_t side : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS}) {
        GC_TRY(const auto others, net::filters(netlink, link, TC_H_MAKE(TC_H_CLSACT, side)));
        if (!others.empty())
            return {};
    }
    return net::remove_clsact(netlink, link);
}

}  // namespace gc::policy
