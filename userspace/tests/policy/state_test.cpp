// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/state.h"

#include <gmock/gmock.h>

namespace gc::policy {
namespace {

State example() {
    State state;
    state.complete = true;
    state.ifindex = 7;
    state.device = "eth0.5";
    state.hook = "clsact";
    state.object = "/etc/my.bpf.o";
    state.lasting = false;
    state.own_clsact = true;
    state.link_bytes_per_s = 1'250'000'000;
    state.link_override = 1'250'000'000;
    state.policy.name = "silent";
    state.policy.use = {.of_link = true, .bytes = 0, .share = 0.95};
    state.policy.headroom = 0.25;
    state.policy.classes[GC_BACKGROUND].dscp = 1;
    net::Qdisc root;
    root.kind = "pfifo";
    root.handle = 0x80010000;
    root.parent = 0xffffffff;
    root.options = {std::byte{77}, std::byte{0}, std::byte{0xff}};
    root.has_options = true;
    state.queue.root = root;
    state.queue.children = {net::Qdisc{}};
    return state;
}

TEST(State, ComesBackAsItWas) {
    const auto back = parse_state(to_text(example()));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->queue, example().queue);
    EXPECT_EQ(back->policy.classes, example().policy.classes);
    EXPECT_EQ(back->device, "eth0.5");
    EXPECT_EQ(to_text(*back), to_text(example()));
}

TEST(State, OfAnotherVersionIsRefused) {
    std::string text = to_text(example());
    const std::string_view version = "\"version\":1";
    text.replace(text.find(version), version.size(), "\"version\":9");
    const auto back = parse_state(text);
    ASSERT_FALSE(back);
    EXPECT_THAT(back.error().message, testing::HasSubstr("found 9"));
}

TEST(State, EachShortenedTextIsRefused) {
    const std::string text = to_text(example());
    for (std::size_t length = 0; length < text.size(); ++length)
        EXPECT_FALSE(parse_state(text.substr(0, length))) << length;
}

}  // namespace
}  // namespace gc::policy
