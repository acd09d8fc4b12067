// SPDX-License-Identifier: GPL-2.0-or-later
// Reads complete streams of real QEMUs.
#include "ledger/ledger.h"
#include "recordings.h"
#include "samples.h"
#include "stream/package.h"
#include "stream/return_path.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>

namespace gc::stream {
namespace {

/// The items of a stream in order, and a ledger of its pages.
struct Reading {
    Buffer again;  ///< encoded from the items
    std::vector<CommandCode> commands;
    std::optional<Package> package;
    Configuration configuration;
    RamBlockList list;
    std::unique_ptr<ledger::Ledger> ledger;
    std::uint64_t discards = 0;
    std::uint64_t raw_bytes = 0;
    bool ended = false;
};

void deliver(Reading& reading, std::string_view block, std::size_t index, std::uint64_t offset) {
    ASSERT_EQ(reading.ledger->find(block), index);
    if (reading.package)
        EXPECT_TRUE(
            reading.ledger->claim(index, offset / target_page, ledger::PageClass::background))
            << block << " 0x" << std::hex << offset << " comes twice";
    else
        EXPECT_TRUE(reading.ledger->deliver_precopy(index, offset / target_page));
}

void note_command(Reading& reading, const Command& command) {
    reading.commands.push_back(command.code);
    if (command.code != CommandCode::postcopy_ram_discard)
        return;
    const auto discard = parse_discard(command.payload);
    ASSERT_TRUE(discard) << discard.error().message;
    for (const PageRange& range : discard->ranges)
        EXPECT_TRUE(reading.ledger->discard(reading.ledger->find(discard->block), range.first,
                                            range.count));
    ++reading.discards;
}

void note(Reading& reading, const Item& item) {
    samples::encode(reading.again, item);
    if (const auto* configuration = std::get_if<Configuration>(&item)) {
        reading.configuration = *configuration;
    } else if (const auto* list = std::get_if<RamBlockList>(&item)) {
        reading.list = *list;
        std::vector<ledger::Ledger::Block> blocks;
        for (const auto& block : list->blocks)
            blocks.push_back({std::string(block.name), block.length / target_page});
        reading.ledger = std::make_unique<ledger::Ledger>(std::move(blocks));
    } else if (const auto* page = std::get_if<RamPage>(&item)) {
        deliver(reading, page->block, page->index, page->offset);
    } else if (const auto* zero = std::get_if<RamZero>(&item)) {
        deliver(reading, zero->block, zero->index, zero->offset);
    } else if (const auto* command = std::get_if<Command>(&item)) {
        note_command(reading, *command);
    } else if (const auto* package = std::get_if<Package>(&item)) {
        reading.package = *package;
        reading.ledger->seal();
    } else if (const auto* raw = std::get_if<Raw>(&item)) {
        reading.raw_bytes += raw->bytes.size();
    }
    reading.ended = std::holds_alternative<EndOfFile>(item);
}

Reading read(std::span<const std::byte> stream) {
    Reader reader;
    Reading reading;
    for (;;) {
        const auto item = reader.next(stream);
        if (!item)
            ADD_FAILURE() << item.error().message;
        if (!item || !*item)
            break;
        note(reading, **item);
    }
    EXPECT_TRUE(stream.empty());
    return reading;
}

class Recorded : public testing::TestWithParam<std::string> {};
class RecordedPrecopy : public Recorded {};
class RecordedPostcopy : public Recorded {};

TEST_P(Recorded, ReEncodesToTheSameBytes) {
    const Buffer stream = recorded(GetParam(), "stream");
    EXPECT_EQ(read(stream).again, stream);
}

TEST_P(Recorded, ComesInAnySizes) {
    // A byte at a time, so that the reader sees each possible truncation of the stream.
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading whole = read(stream);
    Reader reader;
    Buffer again;
    std::size_t taken = 0;
    for (std::size_t end = 1; end <= stream.size(); ++end) {
        std::span<const std::byte> input = std::span(stream).first(end).subspan(taken);
        const auto item = reader.next(input);
        ASSERT_TRUE(item) << item.error().message;
        if (*item)
            samples::encode(again, **item);
        taken = end - input.size();
        ASSERT_EQ(reader.position(), taken);
    }
    EXPECT_EQ(taken, stream.size());
    EXPECT_EQ(again, whole.again);
}

TEST_P(RecordedPrecopy, EndsInDeviceState) {
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading reading = read(stream);
    EXPECT_GT(reading.raw_bytes, 1000U);
    EXPECT_FALSE(reading.package);
    EXPECT_EQ(stream.back(), std::byte{'}'}) << "the description of the devices";
    ASSERT_TRUE(reading.ledger);
    const bool ignores = GetParam().find("ignore-shared") != std::string::npos;
    EXPECT_EQ(reading.ledger->missing() == 0, !ignores);
    for (const auto& block : reading.list.blocks)
        EXPECT_EQ(block.guest_address.has_value(), ignores);
    if (ignores) {
        EXPECT_THAT(reading.configuration.capabilities, testing::ElementsAre("x-ignore-shared"));
    }
}

TEST_P(RecordedPrecopy, KeepsTheUuid) {
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading reading = read(stream);
    std::vector<std::string_view> names;
    for (const auto& subsection : reading.configuration.subsections)
        names.push_back(subsection.name);
    const bool has = GetParam().find("uuid") != std::string::npos;
    EXPECT_EQ(std::ranges::count(names, uuid_subsection), has ? 1 : 0);
}

TEST_P(RecordedPostcopy, HasTheExpectedCommands) {
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading reading = read(stream);
    using enum CommandCode;
    std::vector<CommandCode> commands = reading.commands;
    // Their number varies from run to run.
    commands.erase(std::ranges::unique(commands).begin(), commands.end());
    std::vector expected{open_return_path, ping, postcopy_advise, postcopy_ram_discard, ping};
    if (!GetParam().starts_with("7.2"))
        expected.insert(expected.begin() + 3, switchover_start);
    EXPECT_EQ(commands, expected);
    EXPECT_GT(reading.discards, 0U);
    EXPECT_TRUE(reading.ended);
}

TEST_P(RecordedPostcopy, HasAPackageForAGuide) {
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading reading = read(stream);
    ASSERT_TRUE(reading.package);
    const auto parts = split_package(reading.package->body);
    ASSERT_TRUE(parts) << parts.error().message;
    EXPECT_EQ(parts->last_ping, GetParam().starts_with("11.1") ? 0x42U : 3U);
    EXPECT_EQ(parts->devices.front(), std::byte{0x04});

    const auto again = split_package(package_body(*parts));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->last_ping, parts->last_ping);
    EXPECT_EQ(again->devices.size(), parts->devices.size());
}

TEST_P(RecordedPostcopy, CanBeWithoutADevice) {
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading reading = read(stream);
    ASSERT_TRUE(reading.package);
    const auto parts = split_package(reading.package->body);
    ASSERT_TRUE(parts);
    const std::vector<std::string> none{"nonesuch"}, timer{"timer"};
    const auto all = without_devices(parts->devices, none);
    ASSERT_TRUE(all) << all.error().message;
    EXPECT_TRUE(std::ranges::equal(*all, parts->devices));
    const auto less = without_devices(parts->devices, timer);
    ASSERT_TRUE(less);
    EXPECT_LT(less->size(), all->size());
    EXPECT_EQ(without_devices(*less, timer).value(), *less);
}

TEST_P(RecordedPostcopy, DeliversEachPageOnce) {
    const Buffer stream = recorded(GetParam(), "stream");
    Reading reading = read(stream);
    const Buffer urgent = recorded(GetParam(), "urgent");
    std::span<const std::byte> input = urgent;
    for (Reader reader(Start::records);;) {
        const auto item = reader.next(input);
        ASSERT_TRUE(item) << item.error().message;
        if (!*item)
            break;
        if (const auto* page = std::get_if<RamPage>(&**item)) {
            const std::size_t block = reading.ledger->find(page->block);
            EXPECT_TRUE(reading.ledger->claim(block, page->offset / target_page,
                                              ledger::PageClass::urgent));
        }
    }
    EXPECT_TRUE(input.empty());
    const auto full = reading.ledger->check_eof();
    EXPECT_TRUE(full) << full.error().message;
    EXPECT_EQ(GetParam().ends_with("preempt"),
              reading.ledger->delivered(ledger::PageClass::urgent) > 0);
}

TEST_P(RecordedPostcopy, HasAReturnPath) {
    const Buffer bytes = recorded(GetParam(), "return");
    const Buffer stream = recorded(GetParam(), "stream");
    const Reading reading = read(stream);
    std::span<const std::byte> input = bytes;
    std::vector<std::uint32_t> pongs;
    std::uint64_t requests = 0;
    std::optional<ShutMessage> shut;
    for (ReturnPathReader reader;;) {
        const auto message = reader.next(input);
        ASSERT_TRUE(message) << message.error().message;
        if (!*message)
            break;
        EXPECT_FALSE(shut) << "SHUT is the last";
        if (const auto* pong = std::get_if<PongMessage>(&**message)) {
            pongs.push_back(pong->value);
        } else if (const auto* request = std::get_if<PageRequest>(&**message)) {
            ++requests;
            EXPECT_EQ(request->length, target_page);
            const std::size_t block = reading.ledger->find(request->block);
            ASSERT_NE(block, ledger::Ledger::no_block);
            EXPECT_LT(request->start / target_page, reading.ledger->blocks()[block].pages);
        } else {
            ASSERT_TRUE(std::holds_alternative<ShutMessage>(**message));
            shut = std::get<ShutMessage>(**message);
        }
    }
    EXPECT_TRUE(input.empty());
    EXPECT_GT(requests, 0U);
    EXPECT_THAT(pongs, testing::Contains(split_package(reading.package->body)->last_ping));
    ASSERT_TRUE(shut);
    EXPECT_EQ(shut->status, 0U);
}

TEST(Recordings, AreOfThreeVersions) {
    for (const std::string_view version : {"7.2/", "10.0/", "11.1/"})
        EXPECT_EQ(recordings(version).size(), 9U) << version;
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
    std::string name = info.param;
    std::ranges::replace_if(
        name, [](char c) { return !std::isalnum(c); }, '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Qemu, Recorded, testing::ValuesIn(recordings()), name_of);
INSTANTIATE_TEST_SUITE_P(Qemu, RecordedPrecopy, testing::ValuesIn(recordings("-precopy")), name_of);
INSTANTIATE_TEST_SUITE_P(Qemu, RecordedPostcopy, testing::ValuesIn([] {
                             auto names = recordings("-postcopy");
                             for (auto& name : recordings("-preempt"))
                                 names.push_back(std::move(name));
                             return names;
                         }()),
                         name_of);

}  // namespace
}  // namespace gc::stream
