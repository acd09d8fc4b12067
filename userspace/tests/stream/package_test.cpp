// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/package.h"

#include "samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::stream {
namespace {

using samples::command;
using samples::concat;
using testing::HasSubstr;

Buffer device() {
    return samples::section(Tag::section_full, 7, "timer", 2);
}
Buffer ping(std::uint32_t value) {
    Buffer out;
    append_ping(out, value);
    return out;
}

void expect_refused(const Buffer& body, std::string_view says) {
    const auto parts = split_package(body);
    ASSERT_FALSE(parts);
    EXPECT_THAT(parts.error().message, HasSubstr(says));
    EXPECT_EQ(parts.error().kind, ErrorKind::protocol);
}

TEST(Package, HasOnePingUpTo10_1) {
    const Buffer body = samples::package({3});
    const auto parts = split_package(body);
    ASSERT_TRUE(parts) << parts.error().message;
    EXPECT_EQ(parts->last_ping, 3U);
    EXPECT_EQ(parts->devices.data(), body.data() + 5);
    EXPECT_EQ(parts->devices.size(), body.size() - 5 - 9 - 5);
}

TEST(Package, HasTwoPingsFrom10_2On) {
    const Buffer body = samples::package({3, 0x42});
    const auto parts = split_package(body);
    ASSERT_TRUE(parts) << parts.error().message;
    EXPECT_EQ(parts->last_ping, 0x42U);
    EXPECT_EQ(parts->devices.size(), body.size() - 5 - 2 * 9 - 5);
}

TEST(Package, IsRebuiltWithAnotherPing) {
    const Buffer body = samples::package({3, 0x42});
    auto parts = split_package(body);
    ASSERT_TRUE(parts);
    parts->last_ping = 0x6763;
    EXPECT_EQ(package_body(*parts), samples::package({0x6763}));
}

TEST(Package, MustBeginWithListen) {
    expect_refused({}, "expected POSTCOPY_LISTEN at the start");
    expect_refused(concat({device(), ping(3), command(CommandCode::postcopy_run)}),
                   "expected POSTCOPY_LISTEN at the start");
    expect_refused(concat({ping(3), command(CommandCode::postcopy_listen), device(), ping(3),
                           command(CommandCode::postcopy_run)}),
                   "expected POSTCOPY_LISTEN at the start");
}

TEST(Package, MayHaveNoOtherCommandBeforeTheDevices) {
    expect_refused(
        concat({command(CommandCode::postcopy_listen), command(CommandCode::switchover_start),
                device(), ping(3), command(CommandCode::postcopy_run)}),
        "expected device sections after POSTCOPY_LISTEN in the package, found command 11");
}

TEST(Package, MustEndWithRun) {
    expect_refused(concat({command(CommandCode::postcopy_listen), device(), ping(3)}),
                   "expected POSTCOPY_RUN at the end");
    expect_refused(command(CommandCode::postcopy_listen), "expected POSTCOPY_RUN at the end");
}

TEST(Package, MustHaveAPing) {
    expect_refused(samples::package({}), "expected a PING before POSTCOPY_RUN");
}

TEST(Package, MustHaveDevices) {
    expect_refused(concat({command(CommandCode::postcopy_listen), ping(3),
                           command(CommandCode::postcopy_run)}),
                   "in the package, found command 2");
    expect_refused(concat({command(CommandCode::postcopy_listen), samples::bytes({0x7e}), ping(3),
                           command(CommandCode::postcopy_run)}),
                   "expected device sections in the package");
}

TEST(GuideStream, HasDevicesAndNoPing) {
    const Buffer body = samples::package({3, 0x42});
    const auto parts = split_package(body);
    ASSERT_TRUE(parts);
    const Buffer devices(parts->devices.begin(), parts->devices.end());
    EXPECT_EQ(
        guide_stream(samples::preamble(), parts->devices),
        concat({samples::preamble(), devices, samples::bytes({0, 0x06, 0, 0, 0, 2, '{', '}'})}));
}

TEST(PostcopyGuideStream, IsWhatADestinationLoads) {
    const Buffer body = samples::package({3, 0x42});
    const auto parts = split_package(body);
    ASSERT_TRUE(parts);
    const GuideState state{.preamble = samples::preamble(),
                           .devices = {parts->devices.begin(), parts->devices.end()},
                           .blocks = {{"pc.ram", 16 * target_page}, {"rom", 2 * target_page}},
                           .ram_section = samples::ram_id};
    const Buffer stream = postcopy_guide_stream(state);
    Reader reader;
    const auto items = samples::read_all<Item>(reader, stream);
    ASSERT_TRUE(items) << items.error().message;
    std::vector<CommandCode> commands;
    for (const Item& item : *items) {
        if (const auto* command = std::get_if<Command>(&item))
            commands.push_back(command->code);
        if (const auto* list = std::get_if<RamBlockList>(&item)) {
            ASSERT_EQ(list->blocks.size(), 2U);
            EXPECT_EQ(list->total, 18 * target_page);
            EXPECT_FALSE(list->blocks[0].page_size);
        }
        if (const auto* package = std::get_if<Package>(&item)) {
            Buffer without_pings = samples::command(CommandCode::postcopy_listen);
            append(without_pings, state.devices);
            append(without_pings, samples::command(CommandCode::postcopy_run));
            EXPECT_EQ(Buffer(package->body.begin(), package->body.end()), without_pings);
        }
    }
    EXPECT_EQ(commands, (std::vector{CommandCode::open_return_path, CommandCode::postcopy_advise,
                                     CommandCode::postcopy_ram_discard}))
        << "a destination refuses RUN without a discard";
    EXPECT_TRUE(std::holds_alternative<Package>(items->back()));
}

TEST(PortableConfiguration, LosesTheCapabilitiesOnly) {
    const Buffer uuid = samples::subsection(uuid_subsection, 1, Buffer(16));
    const Buffer stream = concat({samples::preamble(), samples::capabilities({"x-ignore-shared"}),
                                  uuid, command(CommandCode::open_return_path)});
    Reader reader;
    std::span<const std::byte> input = stream;
    ASSERT_TRUE(reader.next(input));
    const auto item = reader.next(input);
    ASSERT_TRUE(item && *item);
    Buffer out = samples::header();
    append_portable_configuration(out, std::get<Configuration>(**item));
    EXPECT_EQ(out, concat({samples::preamble(), uuid}));
}

/// A whole section.
Buffer section_with(std::uint32_t id, std::string_view name, const Buffer& content) {
    Buffer out = concat({samples::section(Tag::section_full, id, name, 1), content});
    append_section_footer(out, id);
    return out;
}
Buffer timer() {
    return section_with(7, "timer", samples::bytes({1, 2, 3}));
}

TEST(Package, CanBeWithoutSomeDevices) {
    Buffer footer;
    append_section_footer(footer, 8);
    // What ends a section may be in one, by chance.
    const Buffer tpm = section_with(8, "tpm-crb", concat({footer, footer, {std::byte{4}}, footer}));
    const Buffer vsock = section_with(9, "0000:00:05.0/virtio-vhost_vsock", {});
    const Buffer other = section_with(10, "0000:00:05.0/not-virtio-vhost_vsock", {});
    const std::vector<std::string> absent{"tpm-crb", "virtio-vhost_vsock"};
    const auto left = without_devices(concat({timer(), tpm, vsock, other}), absent);
    ASSERT_TRUE(left) << left.error().message;
    EXPECT_EQ(*left, concat({timer(), other}));
    EXPECT_EQ(without_devices(concat({tpm, timer()}), absent).value(), timer());
    EXPECT_TRUE(without_devices({}, absent).value().empty());
}

TEST(Package, WhoseSectionsDoNotEndIsRefused) {
    const std::vector<std::string> absent{"x"};
    const Buffer one = timer();
    const Buffer cut(one.begin(), one.end() - 1);
    for (const Buffer& bad : {cut, concat({one, {std::byte{0x42}}}), concat({one, cut})}) {
        const auto left = without_devices(bad, absent);
        ASSERT_FALSE(left);
        EXPECT_EQ(left.error().kind, ErrorKind::protocol);
    }
}

TEST(Package, NamesOfDevicesAreThoseAfterTheirPlace) {
    const std::vector<std::string> devices{"tpm-ppi", "dbus-vmstate"};
    EXPECT_TRUE(is_of("tpm-ppi", devices));
    EXPECT_TRUE(is_of("dbus-vmstate/dbus-vmstate", devices));
    EXPECT_FALSE(is_of("xtpm-ppi", devices));
    EXPECT_FALSE(is_of("tpm-ppi/x", devices));
    EXPECT_FALSE(is_of("", devices));
}

}  // namespace
}  // namespace gc::stream
