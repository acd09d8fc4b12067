// SPDX-License-Identifier: GPL-2.0-or-later
#include "measure/touched.h"

#include "peer/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gc::measure {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(Touched, ComesAsItWasSent) {
    Touched sent{"pc.ram", true, {}};
    for (std::uint64_t i = 0; i < 12'345; ++i)
        sent.runs.push_back({UINT64_MAX - i, UINT64_MAX - 2 * i});
    Touched came{"pc.ram", true, {}};
    for (const json& message : to_messages(sent)) {
        EXPECT_LT(message.dump().size(), peer::max_line - 100);
        // As it comes out of a line of text.
        const auto part = from_message(json::parse(message.dump()));
        ASSERT_TRUE(part) << part.error().message;
        EXPECT_EQ(part->block, "pc.ram");
        EXPECT_TRUE(part->asked);
        came.runs.insert(came.runs.end(), part->runs.begin(), part->runs.end());
    }
    EXPECT_EQ(came, sent);
}

TEST(Touched, NoPagesAreNoMessage) {
    EXPECT_TRUE(to_messages({"pc.ram", false, {}}).empty());
}

TEST(Touched, GarbageIsRefused) {
    const json good{{"block", "m"}, {"asked", false}, {"runs", {0, 1}}};
    ASSERT_TRUE(from_message(json::parse(good.dump())));
    const auto with = [&](const char* key, const json& value) {
        json message = json::parse(good.dump());
        message[key] = value;
        return message;
    };
    json without = good;
    without.erase("asked");
    for (const json& message :
         {with("block", 1), with("asked", 1), with("runs", "0 1"), with("runs", {1}),
          with("runs", {-1, 1}), with("runs", {0, 1.5}), with("runs", {"0", "1"}), without}) {
        const auto touched = from_message(message);
        ASSERT_FALSE(touched) << message;
        EXPECT_EQ(touched.error().kind, ErrorKind::protocol);
        EXPECT_THAT(touched.error().message, HasSubstr("expected the pages"));
    }
}

}  // namespace
}  // namespace gc::measure
