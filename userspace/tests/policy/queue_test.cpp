// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/queue.h"

#include <gmock/gmock.h>
#include <linux/pkt_sched.h>

namespace gc::policy {
namespace {

using net::Qdisc;
using testing::HasSubstr;

Qdisc qdisc(std::string kind, std::uint32_t handle, std::uint32_t parent = TC_H_ROOT) {
    Qdisc made;
    made.kind = std::move(kind);
    made.handle = handle;
    made.parent = parent;
    return made;
}

TEST(QueuePlan, FqStays) {
    const auto plan = plan_queue("nic", {qdisc("fq", 0x80010000)});
    ASSERT_TRUE(plan);
    EXPECT_FALSE(plan->root);
}

TEST(QueuePlan, ClsactIsNoRoot) {
    const auto plan =
        plan_queue("nic", {qdisc("clsact", 0xffff0000, TC_H_CLSACT), qdisc("noqueue", 0)});
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->root->kind, "noqueue");
}

TEST(QueuePlan, AnyDefaultIsReplaced) {
    // Any qdisc can be the kernel's default, and the kernel recreates it.
    for (const char* kind : {"pfifo_fast", "fq_codel", "cake"})
        EXPECT_TRUE(plan_queue("nic", {qdisc(kind, 0)})) << kind;
}

TEST(QueuePlan, WhatCannotBePutBackIsRefusedByName) {
    for (const char* kind : {"htb", "prio", "cake", "tbf", "netem", "mqprio"}) {
        const auto plan = plan_queue("nic", {qdisc(kind, 0x00010000)});
        ASSERT_FALSE(plan) << kind;
        EXPECT_EQ(plan.error().kind, ErrorKind::unsupported);
        EXPECT_THAT(plan.error().message, HasSubstr(fmt::format("'{} 1:'", kind)));
        EXPECT_THAT(plan.error().message, HasSubstr("tc qdisc del dev nic root"));
    }
}

TEST(QueuePlan, ASizeTableIsRefused) {
    Qdisc sized = qdisc("pfifo", 0x00010000);
    sized.has_extras = true;
    EXPECT_FALSE(plan_queue("nic", {sized}));
}

TEST(QueuePlan, OfMqOnlyConfiguredChildrenAreKept) {
    const auto plan = plan_queue("nic", {qdisc("mq", 0x00010000), qdisc("fq_codel", 0, 0x00010001),
                                         qdisc("pfifo", 0x00050000, 0x00010002)});
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->root->kind, "mq");
    ASSERT_EQ(plan->children.size(), 1);
    EXPECT_EQ(plan->children[0].kind, "pfifo");
}

TEST(QueuePlan, MqWithFqEverywhereStays) {
    const auto plan = plan_queue("nic", {qdisc("mq", 0), qdisc("fq", 0, 0x1), qdisc("fq", 0, 0x2)});
    ASSERT_TRUE(plan);
    EXPECT_FALSE(plan->root);
}

TEST(QueuePlan, AChildOfMqThatCannotBePutBackIsRefused) {
    EXPECT_FALSE(
        plan_queue("nic", {qdisc("mq", 0x00010000), qdisc("htb", 0x00050000, 0x00010001)}));
}

TEST(QueuePlan, NoQdiscIsADeviceThatIsDown) {
    const auto plan = plan_queue("nic", {});
    ASSERT_FALSE(plan);
    EXPECT_THAT(plan.error().message, HasSubstr("ip link set nic up"));
}

}  // namespace
}  // namespace gc::policy
