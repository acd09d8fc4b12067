// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/return_path.h"

#include "samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::stream {
namespace {

using samples::bytes;
using samples::concat;
using testing::HasSubstr;

Result<std::vector<ReturnMessage>> read_all(std::span<const std::byte> input) {
    ReturnPathReader reader;
    return samples::read_all<ReturnMessage>(reader, input);
}

Result<std::vector<ReturnMessage>> read_recovery(std::span<const std::byte> input) {
    ReturnPathReader reader(ReturnPathReader::Bitmaps::accepted);
    return samples::read_all<ReturnMessage>(reader, input);
}

Buffer message(int type, const Buffer& payload) {
    return concat({bytes({0, type, 0, static_cast<int>(payload.size())}), payload});
}

/// REQ_PAGES, which omits the block.
Buffer same_block(std::uint64_t start, std::uint32_t length) {
    Buffer payload;
    append_be64(payload, start);
    append_be32(payload, length);
    return message(4, payload);
}

Buffer named(std::string_view block, std::uint64_t start, std::uint32_t length) {
    Buffer out;
    append_page_request(out, block, start, length);
    return out;
}

TEST(ReturnPath, ReadsWhatTheWriterWrote) {
    Buffer out;
    append_pong(out, 0x42);
    append_page_request(out, "pc.ram", 0x7000, 0x1000);
    append_resume_ack(out);
    append_switchover_ack(out);
    append_shut(out, 1);
    const auto messages = read_all(out);
    ASSERT_TRUE(messages) << messages.error().message;
    ASSERT_EQ(messages->size(), 5U);
    EXPECT_EQ(std::get<PongMessage>((*messages)[0]).value, 0x42U);
    const auto& request = std::get<PageRequest>((*messages)[1]);
    EXPECT_EQ(request.block, "pc.ram");
    EXPECT_EQ(request.start, 0x7000U);
    EXPECT_EQ(request.length, 0x1000U);
    EXPECT_TRUE(std::holds_alternative<ResumeAck>((*messages)[2]));
    EXPECT_TRUE(std::holds_alternative<SwitchoverAck>((*messages)[3]));
    EXPECT_EQ(std::get<ShutMessage>((*messages)[4]).status, 1U);
}

TEST(ReturnPath, RemembersTheBlock) {
    const auto messages =
        read_all(concat({named("a", 0, 0x1000), same_block(0x2000, 0x1000), named("b", 0, 0x200000),
                         same_block(0x200000, 0x200000)}));
    ASSERT_TRUE(messages) << messages.error().message;
    EXPECT_EQ(std::get<PageRequest>(messages->at(1)).block, "a");
    EXPECT_EQ(std::get<PageRequest>(messages->at(1)).start, 0x2000U);
    EXPECT_EQ(std::get<PageRequest>(messages->at(3)).block, "b");
    EXPECT_EQ(std::get<PageRequest>(messages->at(3)).length, 0x200000U);
}

TEST(ReturnPath, ReadsSwitchoverAck) {
    const auto messages = read_all(message(7, {}));
    ASSERT_TRUE(messages) << messages.error().message;
    EXPECT_TRUE(std::holds_alternative<SwitchoverAck>(messages->at(0)));
}

TEST(ReturnPath, WaitsAtEachTruncation) {
    const Buffer whole = concat({named("pc.ram", 0, 0x1000), same_block(0x1000, 0x1000)});
    ReturnPathReader reader;
    std::size_t taken = 0;
    int messages = 0;
    for (std::size_t end = 0; end <= whole.size(); ++end) {
        std::span<const std::byte> input = std::span(whole).first(end).subspan(taken);
        const auto next = reader.next(input);
        ASSERT_TRUE(next) << next.error().message;
        messages += next->has_value() ? 1 : 0;
        taken = end - input.size();
    }
    EXPECT_EQ(messages, 2);
    EXPECT_EQ(taken, whole.size());
}

TEST(ReturnPath, AllReceivedIsAsQemuReadsIt) {
    Buffer out;
    append_all_received(out, "m", 65);
    EXPECT_EQ(out, concat({message(5, bytes({1, 'm'})), bytes({0, 0, 0, 0, 0, 0, 0, 16}),
                           Buffer(16, std::byte{0xff}),
                           bytes({0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef})}));
}

struct Lie {
    std::string name;
    Buffer bytes;
    std::string says;
    ErrorKind kind = ErrorKind::protocol;
};
void PrintTo(const Lie& lie, std::ostream* out) {
    *out << lie.name;
}

class MalformedReturn : public testing::TestWithParam<Lie> {};

TEST_P(MalformedReturn, IsRefused) {
    ReturnPathReader reader;
    std::span<const std::byte> input = GetParam().bytes;
    const auto first = reader.next(input);
    ASSERT_FALSE(first);
    EXPECT_THAT(first.error().message, HasSubstr(GetParam().says));
    EXPECT_THAT(first.error().message, HasSubstr("return path, byte 0"));
    EXPECT_EQ(first.error().kind, GetParam().kind);
    const Buffer good = message(7, {});
    input = good;
    EXPECT_FALSE(reader.next(input)) << "the error must last";
}

std::vector<Lie> lies() {
    return {
        {"UnknownType", bytes({0, 8, 0xff, 0xff}), "unknown message type 8 with 65535 bytes"},
        {"TypeZero", bytes({0, 0, 0, 0}), "unknown message type 0"},
        {"ShortPong", message(2, bytes({0, 0, 1})), "invalid length of 3 bytes for message type 2"},
        {"LongShut", message(1, bytes({0, 0, 0, 0, 0})),
         "invalid length of 5 bytes for message type 1"},
        {"FullSwitchoverAck", message(7, bytes({1})),
         "invalid length of 1 bytes for message type 7"},
        {"OtherResumeAck", message(6, bytes({0, 0, 0, 2})), "expected RESUME_ACK 1, found 2"},
        {"NamelessRequest", same_block(0, 0x1000), "before any request named one"},
        {"EmptyName", named("", 0, 0x1000), "before any request named one"},
        {"NameBeyondTheMessage", message(3, concat({Buffer(10), bytes({0x10, 0, 9, 'm'})})),
         "before any request named one"},
        {"HalfAPage", named("m", 0x800, 0x1000), "expected whole pages"},
        {"PartOfAPage", named("m", 0, 0x800), "expected whole pages"},
        {"NoPage", named("m", 0, 0), "expected whole pages"},
        {"BeyondEverything", named("m", 0xfffffffffffff000, 0x2000), "expected whole pages"},
        {"RecvBitmap", message(5, bytes({1, 'm'})), "a bitmap", ErrorKind::unsupported},
    };
}

INSTANTIATE_TEST_SUITE_P(Lies, MalformedReturn, testing::ValuesIn(lies()),
                         [](const auto& lie) { return lie.param.name; });

TEST(ReturnPath, ReadsBitmapsInARecovery) {
    Buffer out;
    append_received(out, "pc.ram", bytes({1, 2, 3, 4, 5, 6, 7, 8}));
    append_all_received(out, "rom", 65);
    append_resume_ack(out);
    const auto messages = read_recovery(out);
    ASSERT_TRUE(messages) << messages.error().message;
    ASSERT_EQ(messages->size(), 3U);
    const auto& first = std::get<ReceivedBitmap>((*messages)[0]);
    EXPECT_EQ(first.block, "pc.ram");
    EXPECT_EQ(first.bits, bytes({1, 2, 3, 4, 5, 6, 7, 8}));
    const auto& second = std::get<ReceivedBitmap>((*messages)[1]);
    EXPECT_EQ(second.block, "rom");
    EXPECT_EQ(second.bits, Buffer(16, std::byte{0xff}));
    // Whatever part has arrived.
    for (std::size_t size = 1; size < 2 + 2 + 7 + 8 + 8 + 8; ++size) {
        ReturnPathReader reader(ReturnPathReader::Bitmaps::accepted);
        std::span<const std::byte> part = std::span(out).first(size);
        const auto message = reader.next(part);
        ASSERT_TRUE(message) << size << ": " << message.error().message;
        EXPECT_FALSE(*message) << size;
        EXPECT_EQ(part.size(), size);
    }
}

TEST(ReturnPath, RejectsLyingBitmaps) {
    Buffer wrong_end;
    append_received(wrong_end, "m", bytes({0, 0, 0, 0, 0, 0, 0, 0}));
    wrong_end.back() = std::byte{0};
    EXPECT_FALSE(read_recovery(wrong_end));
    Buffer endless = message(5, bytes({1, 'm'}));
    append_be64(endless, std::uint64_t{1} << 60);
    EXPECT_FALSE(read_recovery(endless));
    Buffer odd = message(5, bytes({1, 'm'}));
    append_be64(odd, 7);
    EXPECT_FALSE(read_recovery(odd));
}

}  // namespace
}  // namespace gc::stream
