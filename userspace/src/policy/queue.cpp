// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/queue.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <linux/pkt_sched.h>
#include <netlink/attr.h>
#include <span>

namespace gc::policy {
namespace {

using net::Qdisc;

/// The handle of our qdiscs, "gc:" in ASCII. Those of mq's children follow it. The kernel's own
/// choices start at 8001:.
constexpr std::uint32_t own_qdisc = 0x67630000;
constexpr std::uint32_t one_handle = 0x00010000;

/// Qdiscs whose whole configuration is in the kernel's dump, in a form that the kernel accepts
/// again.
constexpr std::array<std::string_view, 10> restorable{
    "noqueue", "pfifo_fast", "pfifo", "bfifo", "fq_codel", "codel", "sfq", "pie", "fq_pie", "hhf"};

bool is_default(const Qdisc& qdisc) {
    return qdisc.handle == 0;
}

Unexpected refuse(const std::string& device, const Qdisc& qdisc, std::string_view why) {
    return fail(ErrorKind::unsupported,
                "{} has the qdisc '{}', {}, but a traffic policy needs to replace it with fq; "
                "remove it (tc qdisc del dev {} root) or shape another NIC",
                device, net::name_of(qdisc), why, device);
}

/// Checks that a qdisc can be restored exactly.
Result<void> check_restorable(const std::string& device, const Qdisc& qdisc) {
    if (is_default(qdisc))
        return {};
    if (std::ranges::find(restorable, qdisc.kind) == restorable.end())
        return refuse(device, qdisc, "which gcctl cannot restore exactly");
    if (qdisc.has_extras)
        return refuse(device, qdisc, "whose size table or filter block gcctl cannot restore");
    return {};
}

std::vector<Qdisc> children_of(const std::vector<Qdisc>& qdiscs, const Qdisc& mq) {
    std::vector<Qdisc> children;
    std::ranges::copy_if(qdiscs, std::back_inserter(children), [&](const Qdisc& qdisc) {
        return qdisc.parent != TC_H_ROOT && qdisc.parent >> 16 == mq.handle >> 16;
    });
    return children;
}

const Qdisc* root_of(const std::vector<Qdisc>& qdiscs) {
    const auto root = std::ranges::find(qdiscs, TC_H_ROOT, &Qdisc::parent);
    return root == qdiscs.end() ? nullptr : &*root;
}

Result<void> put(net::Netlink& netlink, int link, const Qdisc& qdisc) {
    GC_TRY(const net::Answer answer, put_qdisc(netlink, link, qdisc));
    if (answer.error == ENOENT && qdisc.kind == "fq")
        return fail(ErrorKind::unsupported, "the kernel has no fq qdisc, which holds packets until "
                                            "their departure time: modprobe sch_fq");
    if (answer.error == EPERM)
        return fail(ErrorKind::unsupported,
                    "no permission to change qdiscs; run gcctl with sudo (CAP_NET_ADMIN)");
    return answer.done(fmt::format("install the qdisc '{}'", net::name_of(qdisc)));
}

/// The maximum number of queued packets per flow. By default fq drops packets beyond 100, which a
/// tenant's burst soon exceeds if it is not TCP of this host. This is the length of a NIC's own
/// queue (txqueuelen).
constexpr std::uint32_t flow_limit = 1000;

Qdisc fq(std::uint32_t parent, std::uint32_t handle) {
    struct {
        nlattr head;
        std::uint32_t value;
    } const limit{{NLA_HDRLEN + sizeof limit.value, TCA_FQ_FLOW_PLIMIT}, flow_limit};
    Qdisc made;
    made.kind = "fq";
    made.parent = parent;
    made.handle = handle;
    made.has_options = true;
    const auto bytes = std::as_bytes(std::span(&limit, 1));
    made.options.assign(bytes.begin(), bytes.end());
    return made;
}

Result<void> apply_to_mq(net::Netlink& netlink, int link, const QueuePlan& plan) {
    Qdisc mq = *plan.root;
    if (is_default(mq)) {
        // The classes of a default mq have no handles; those of this one do.
        mq = {};
        mq.kind = "mq";
        mq.parent = TC_H_ROOT;
        mq.handle = own_qdisc;
        GC_CHECK(put(netlink, link, mq));
    }
    GC_TRY(const auto qdiscs, net::qdiscs(netlink, link));
    std::uint32_t handle = own_qdisc;
    for (const Qdisc& child : children_of(qdiscs, mq))
        if (handle += one_handle; child.kind != "fq")
            GC_CHECK(put(netlink, link, fq(child.parent, handle)));
    return {};
}

/// What a codel time in microseconds becomes when it is written to the kernel and read back. The
/// kernel stores units of 1024 ns and rounds down in both directions.
std::uint32_t codel_round_trip(std::uint32_t us) {
    const std::uint64_t kept = (std::uint64_t{us} * 1000) >> 10;
    return static_cast<std::uint32_t>((kept << 10) / 1000);
}

bool is_codel_time(const std::string& kind, int attribute) {
    if (kind == "codel")
        return attribute == TCA_CODEL_TARGET || attribute == TCA_CODEL_INTERVAL ||
               attribute == TCA_CODEL_CE_THRESHOLD;
    return kind == "fq_codel" &&
           (attribute == TCA_FQ_CODEL_TARGET || attribute == TCA_FQ_CODEL_INTERVAL ||
            attribute == TCA_FQ_CODEL_CE_THRESHOLD);
}

/// Restores a qdisc such that the kernel dumps it as before.
Result<void> put_back(net::Netlink& netlink, int link, Qdisc qdisc) {
    auto* attribute = reinterpret_cast<nlattr*>(qdisc.options.data());
    for (int left = static_cast<int>(qdisc.options.size());
         (qdisc.kind == "codel" || qdisc.kind == "fq_codel") && ::nla_ok(attribute, left);
         attribute = ::nla_next(attribute, &left)) {
        if (!is_codel_time(qdisc.kind, ::nla_type(attribute)) ||
            ::nla_len(attribute) != sizeof(std::uint32_t))
            continue;
        std::uint32_t us = ::nla_get_u32(attribute);
        us += codel_round_trip(us) != us;
        std::memcpy(::nla_data(attribute), &us, sizeof us);
    }
    return put(netlink, link, qdisc);
}

/// Whether a child of mq was created by apply().
bool is_own_child(const Qdisc& child) {
    return child.kind == "fq" && child.handle > own_qdisc && child.handle < TC_H_MAKE(1U << 31, 0);
}

/// What is at the root after apply(), or after a restore() that was killed.
enum class Root { ours, kernel_default, previous, foreign };

Root inspect(const std::vector<Qdisc>& now, const QueuePlan& plan) {
    const Qdisc* root = root_of(now);
    if (root == nullptr)
        return Root::foreign;
    if (is_default(*root))
        return Root::kernel_default;
    const bool mq = plan.root->kind == "mq";
    if (root->handle == own_qdisc)
        return root->kind == (mq ? "mq" : "fq") ? Root::ours : Root::foreign;
    if (root->handle != plan.root->handle || root->kind != plan.root->kind)
        return Root::foreign;
    return mq && std::ranges::any_of(children_of(now, *root), is_own_child) ? Root::ours
                                                                            : Root::previous;
}

}  // namespace

bool has_fq(const std::vector<Qdisc>& qdiscs) {
    const Qdisc* root = root_of(qdiscs);
    if (root == nullptr || root->kind != "mq")
        return root != nullptr && root->kind == "fq";
    return std::ranges::all_of(children_of(qdiscs, *root),
                               [](const Qdisc& child) { return child.kind == "fq"; });
}

Result<QueuePlan> plan_queue(const std::string& device, const std::vector<Qdisc>& qdiscs) {
    const Qdisc* root = root_of(qdiscs);
    if (root == nullptr)
        return fail(ErrorKind::unsupported,
                    "{0} has no qdisc because it is down; run ip link set {0} up first", device);
    if (has_fq(qdiscs))
        return QueuePlan{};
    if (root->kind != "mq") {
        GC_CHECK(check_restorable(device, *root));
        return QueuePlan{*root, {}};
    }
    if (root->has_extras)
        return refuse(device, *root, "whose filter block gcctl cannot restore");
    auto children = children_of(qdiscs, *root);
    for (const Qdisc& child : children)
        // mq is recreated, which must not lose somebody else's fq below it.
        if (child.kind != "fq")
            GC_CHECK(check_restorable(device, child));
    std::erase_if(children, is_default);
    return QueuePlan{*root, std::move(children)};
}

Result<QueuePlan> plan_queue(net::Netlink& netlink, const std::string& device, int link) {
    GC_TRY(const auto qdiscs, net::qdiscs(netlink, link));
    GC_TRY(QueuePlan plan, plan_queue(device, qdiscs));
    if (!plan.root)
        return plan;
    std::vector<Qdisc> replaced = plan.children;
    replaced.push_back(*plan.root);
    for (const Qdisc& qdisc : replaced) {
        if (is_default(qdisc))
            continue;
        GC_TRY(const auto filters, net::filters(netlink, link, qdisc.handle));
        if (!filters.empty())
            return refuse(device, qdisc, "whose filters gcctl cannot restore");
    }
    return plan;
}

Result<void> apply(net::Netlink& netlink, int link, const QueuePlan& plan) {
    if (!plan.root)
        return {};
    if (plan.root->kind == "mq")
        return apply_to_mq(netlink, link, plan);
    return put(netlink, link, fq(TC_H_ROOT, own_qdisc));
}

Result<void> restore(net::Netlink& netlink, int link, const QueuePlan& plan) {
    if (!plan.root)
        return {};
    GC_TRY(auto now, net::qdiscs(netlink, link));
    const Root left = inspect(now, plan);
    if (left == Root::foreign)
        return {};
    const bool mq = plan.root->kind == "mq";
    if (left == Root::ours && (mq || is_default(*plan.root))) {
        GC_TRY(const net::Answer answer, net::remove_root_qdisc(netlink, link));
        GC_CHECK(answer.done("remove fq"));
    }
    if (left != Root::previous && !is_default(*plan.root))
        GC_CHECK(put_back(netlink, link, *plan.root));
    GC_TRY(now, net::qdiscs(netlink, link));
    for (const Qdisc& child : plan.children)
        if (std::ranges::find(now, child) == now.end())
            GC_CHECK(put_back(netlink, link, child));
    return {};
}

}  // namespace gc::policy
