// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/plan.h"

#include <gmock/gmock.h>

namespace gc::evacuate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t GiB = std::uint64_t{1} << 30;

Vm vm(const std::string& name, std::uint64_t memory, unsigned vcpus = 1, int priority = 0) {
    return {.name = name,
            .uuid = {},
            .memory = memory,
            .vcpus = vcpus,
            .priority = priority,
            .unfit = {},
            .unfit_for = {"", ""}};
}

Host host(const std::string& name, std::uint64_t available) {
    return {.uri = name, .available = available, .ports = {{name, "4444"}}};
}

/// "vm1>hostb", in the order of the moves.
std::vector<std::string> moves(const Facts& facts, Order order = Order::gain,
                               bool overcommit = false) {
    std::vector<std::string> text;
    for (const Move& move : make_plan(facts, order, overcommit).moves)
        text.push_back(facts.vms[move.vm].name + ">" + facts.hosts[move.host].uri);
    return text;
}

Facts two_hosts(std::vector<Vm> vms, std::uint64_t b = 64 * GiB, std::uint64_t c = 1 * GiB) {
    return {.vms = std::move(vms), .hosts = {host("b", b), host("c", c)}};
}

TEST(EvacuationPlan, OfNothingIsEmpty) {
    const Plan plan = make_plan(two_hosts({}), Order::gain);
    EXPECT_THAT(plan.moves, IsEmpty());
    EXPECT_THAT(plan.kept, IsEmpty());
}

TEST(EvacuationPlan, MostVcpusForEachByteGoFirst) {
    const Facts facts =
        two_hosts({vm("idle", 8 * GiB, 1), vm("busy", 4 * GiB, 4), vm("big", 8 * GiB, 4)});
    EXPECT_THAT(moves(facts), ElementsAre("busy>b", "big>b", "idle>b"));
    EXPECT_THAT(moves(facts, Order::small), ElementsAre("busy>b", "idle>b", "big>b"));
    EXPECT_THAT(moves(facts, Order::large), ElementsAre("idle>b", "big>b", "busy>b"));
    EXPECT_THAT(moves(facts, Order::given), ElementsAre("idle>b", "busy>b", "big>b"));
}

TEST(EvacuationPlan, PriorityGoesBeforeAllButTheGivenOrder) {
    const Facts facts =
        two_hosts({vm("low", 1 * GiB, 8, -1), vm("normal", 4 * GiB), vm("high", 16 * GiB, 1, 5)});
    for (const Order order : {Order::gain, Order::small, Order::large})
        EXPECT_THAT(moves(facts, order), ElementsAre("high>b", "normal>b", "low>b")) << name(order);
    EXPECT_THAT(moves(facts, Order::given), ElementsAre("low>b", "normal>b", "high>b"));
}

TEST(EvacuationPlan, EqualsKeepTheirOrder) {
    const Facts facts = two_hosts({vm("a", GiB), vm("b", GiB), vm("c", GiB)});
    for (const Order order : {Order::gain, Order::small, Order::large, Order::given})
        EXPECT_THAT(moves(facts, order), ElementsAre("a>b", "b>b", "c>b")) << name(order);
}

TEST(EvacuationPlan, HostsFillEvenly) {
    const Facts facts =
        two_hosts({vm("1", 2 * GiB), vm("2", 2 * GiB), vm("3", 2 * GiB), vm("4", 2 * GiB)},
                  20 * GiB, 18 * GiB);
    EXPECT_THAT(moves(facts), ElementsAre("1>b", "2>c", "3>b", "4>c"));
}

TEST(EvacuationPlan, LargeVmFindsRoomThoughASmallOneGoesFirst) {
    // Were the small one placed first, it would be where only the large one fits.
    const Facts facts =
        two_hosts({vm("small", 1 * GiB, 4), vm("large", 8 * GiB)}, 8 * GiB + qemu_memory, 2 * GiB);
    EXPECT_THAT(moves(facts), ElementsAre("small>c", "large>b"));
}

TEST(EvacuationPlan, VmWithoutRoomIsKeptAndSaysWhatIsLeft) {
    const Facts facts = two_hosts({vm("first", 3 * GiB), vm("second", 3 * GiB)}, 4 * GiB, 1 * GiB);
    const Plan plan = make_plan(facts, Order::gain);
    EXPECT_THAT(plan.moves, ElementsAre(Move{0, 0}));
    ASSERT_EQ(plan.kept.size(), 1U);
    EXPECT_EQ(plan.kept[0].vm, 1U);
    EXPECT_THAT(plan.kept[0].reason, HasSubstr("b: it needs 3200 MiB, 896 MiB are left there"));
    EXPECT_THAT(plan.kept[0].reason, HasSubstr("c: it needs 3200 MiB, 1024 MiB are left there"));
    EXPECT_THAT(moves(facts, Order::gain, true), ElementsAre("first>b", "second>c"));
}

TEST(EvacuationPlan, QemuNeedsMemoryToo) {
    EXPECT_THAT(moves(two_hosts({vm("vm", GiB)}, GiB + qemu_memory - 1, 0)), IsEmpty());
    EXPECT_THAT(moves(two_hosts({vm("vm", GiB)}, GiB + qemu_memory, 0)), ElementsAre("vm>b"));
}

TEST(EvacuationPlan, HostThatCannotHaveTheVmIsLeftOut) {
    Facts facts =
        two_hosts({vm("picky", GiB), vm("nowhere", GiB), vm("easy", GiB)}, 64 * GiB, 4 * GiB);
    facts.vms[0].unfit_for = {"no AVX there", ""};
    facts.vms[1].unfit_for = {"no AVX there", "no SVM there"};
    EXPECT_THAT(moves(facts), ElementsAre("picky>c", "easy>b"));
    // Memory is no cure for that.
    EXPECT_THAT(moves(facts, Order::gain, true), ElementsAre("picky>c", "easy>b"));
    const Plan plan = make_plan(facts, Order::gain);
    ASSERT_EQ(plan.kept.size(), 1U);
    EXPECT_EQ(plan.kept[0].reason, "b: no AVX there; c: no SVM there");
}

TEST(EvacuationPlan, VmThatCannotMoveTakesNoRoom) {
    Facts facts = two_hosts({vm("paused", 3 * GiB), vm("runs", 3 * GiB)}, 4 * GiB, 0);
    facts.vms[0].unfit = "it is paused";
    const Plan plan = make_plan(facts, Order::gain);
    EXPECT_THAT(plan.moves, ElementsAre(Move{1, 0}));
    ASSERT_EQ(plan.kept.size(), 1U);
    EXPECT_EQ(plan.kept[0].reason, "it is paused");
}

TEST(EvacuationPlan, OrdersHaveNames) {
    for (const Order order : {Order::gain, Order::small, Order::large, Order::given})
        EXPECT_EQ(parse_order(name(order)).value(), order);
    for (const char* text : {"", "Gain", "gain ", "memory"})
        EXPECT_FALSE(parse_order(text)) << text;
}

TEST(EvacuationPriority, IsAnAttribute) {
    EXPECT_EQ(parse_priority("<evacuate priority='5'/>").value(), 5);
    EXPECT_EQ(parse_priority("<e xmlns=\"urn:x\" priority=\"-12\"></e>").value(), -12);
}

TEST(EvacuationPriority, IsANumber) {
    for (const char* element :
         {"", "<evacuate/>", "<evacuate priority=/>", "<evacuate priority=", "<e priority=5/>",
          "<e priority=''/>", "<e priority='5/>", "<e priority='5.5'/>", "<e priority='+5'/>",
          "<e priority='99999999999'/>", "<e priority='high'/>"})
        EXPECT_FALSE(parse_priority(element)) << element;
}

TEST(EvacuationBudget, IsSharedByThoseUnderWay) {
    EXPECT_EQ(share_of(100, 0, 1), 100U);
    EXPECT_EQ(share_of(100, 0, 2), 50U);
    EXPECT_EQ(share_of(100, 50, 1), 50U);
    EXPECT_EQ(share_of(100, 50, 2), 25U);
}

TEST(EvacuationBudget, IsNeverNone) {
    // 0 would be no limit.
    EXPECT_EQ(share_of(100, 100, 1), 1U);
    EXPECT_EQ(share_of(1, 0, 2), 1U);
    EXPECT_EQ(share_of(100, 200, 1), 1U);
}

}  // namespace
}  // namespace gc::evacuate
