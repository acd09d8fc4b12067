// SPDX-License-Identifier: GPL-2.0-or-later
#include "stream/reader.h"

#include "samples.h"

#include <algorithm>
#include <deque>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gc::stream {
namespace {

using samples::bytes;
using samples::concat;
using testing::HasSubstr;

/// All items of a stream, or the error that ends it. Views in items point into the stream, and
/// those of names into the reader, which is kept for them.
Result<std::vector<Item>> read_all(std::span<const std::byte> stream, Start start = Start::header) {
    static std::deque<Reader> readers;
    return samples::read_all<Item>(readers.emplace_back(start), stream);
}

template <typename T> std::vector<T> only(const std::vector<Item>& items) {
    std::vector<T> found;
    for (const Item& item : items)
        if (const T* it = std::get_if<T>(&item))
            found.push_back(*it);
    return found;
}

Buffer be32(std::uint32_t value) {
    Buffer out;
    append_be32(out, value);
    return out;
}

TEST(Reader, ReadsAPostcopy) {
    const Buffer stream = samples::postcopy();
    const auto items = read_all(stream);
    ASSERT_TRUE(items) << items.error().message;

    EXPECT_EQ(only<Configuration>(*items).at(0).machine, samples::machine);
    const auto sections = only<SectionHeader>(*items);
    ASSERT_EQ(sections.size(), 4U);
    EXPECT_EQ(sections[0].tag, Tag::section_start);
    EXPECT_EQ(sections[3].tag, Tag::section_end);
    for (const SectionHeader& section : sections) {
        EXPECT_EQ(section.name, "ram");
        EXPECT_EQ(section.id, samples::ram_id);
    }
    const RamBlockList list = only<RamBlockList>(*items).at(0);
    EXPECT_EQ(list.total, 18 * target_page);
    ASSERT_EQ(list.blocks.size(), 2U);
    EXPECT_EQ(list.blocks[1].name, "rom");
    EXPECT_EQ(list.blocks[1].length, 2 * target_page);
    const auto pages = only<RamPage>(*items);
    ASSERT_EQ(pages.size(), 2U);
    EXPECT_EQ(pages[1].block, "rom");
    EXPECT_EQ(pages[1].index, 1U);
    EXPECT_EQ(pages[1].offset, target_page);
    EXPECT_EQ(pages[1].data[4095], std::byte{0xbb});
    const auto zeros = only<RamZero>(*items);
    ASSERT_EQ(zeros.size(), 17U);
    EXPECT_EQ(zeros[0].block, "pc.ram");
    EXPECT_FALSE(zeros[0].named);
    EXPECT_TRUE(std::holds_alternative<EndOfFile>(items->back()));
}

TEST(Reader, PagesAreViewsOfTheInput) {
    const Buffer stream = samples::postcopy();
    const auto items = read_all(stream);
    ASSERT_TRUE(items);
    for (const RamPage& page : only<RamPage>(*items)) {
        EXPECT_GE(page.data.data(), stream.data());
        EXPECT_LE(page.data.data() + page.data.size(), stream.data() + stream.size());
    }
}

TEST(Reader, ContinuesABlockOverASectionsBeginning) {
    const Buffer stream = samples::postcopy();
    const auto items = read_all(stream);
    ASSERT_TRUE(items);
    EXPECT_EQ(only<RamZero>(*items)[1].block, "rom");
}

TEST(Reader, ReEncodesToTheSameBytes) {
    const Buffer stream = samples::postcopy();
    const auto items = read_all(stream);
    ASSERT_TRUE(items);
    Buffer again;
    for (const Item& item : *items)
        samples::encode(again, item);
    EXPECT_EQ(again, stream);
}

TEST(Reader, WaitsAtEachTruncation) {
    const Buffer stream = samples::postcopy();
    for (std::size_t length = 0; length < stream.size(); ++length) {
        Reader reader;
        std::span<const std::byte> input = std::span(stream).first(length);
        for (;;) {
            const std::size_t before = input.size();
            const auto item = reader.next(input);
            ASSERT_TRUE(item) << length << ": " << item.error().message;
            if (!*item) {
                ASSERT_EQ(input.size(), before);
                break;
            }
        }
        EXPECT_EQ(reader.position() + input.size(), length);
    }
}

TEST(Reader, KeepsTheSubsectionsOfTheConfiguration) {
    const Buffer uuid = samples::subsection(uuid_subsection, 1, Buffer(16));
    const Buffer bits = samples::subsection(page_bits_subsection, 1, be32(12));
    const Buffer caps = samples::capabilities({"x-ignore-shared", "validate-uuid"});
    const Buffer stream = concat(
        {samples::preamble(), bits, caps, uuid, samples::command(CommandCode::open_return_path)});
    const auto items = read_all(stream);
    ASSERT_TRUE(items) << items.error().message;
    const Configuration configuration = only<Configuration>(*items).at(0);
    ASSERT_EQ(configuration.subsections.size(), 3U);
    EXPECT_TRUE(std::ranges::equal(configuration.subsections[1].bytes, caps));
    EXPECT_THAT(configuration.capabilities,
                testing::ElementsAre("x-ignore-shared", "validate-uuid"));
}

TEST(Reader, KnowsGuestAddressesByTheCapability) {
    Buffer stream = concat({samples::preamble(), samples::capabilities({"x-ignore-shared"}),
                            samples::section(Tag::section_start, 2, "ram", 4)});
    append_block_list(stream, 3 * target_page);
    append_block(stream, "a", target_page, {}, 0);
    append_block(stream, "b", 2 * target_page, {}, 0xfffc0000);
    append(stream, samples::ram_rests());
    const auto items = read_all(stream);
    ASSERT_TRUE(items) << items.error().message;
    const RamBlockList list = only<RamBlockList>(*items).at(0);
    EXPECT_EQ(list.blocks.at(0).guest_address, 0U);
    EXPECT_EQ(list.blocks.at(1).guest_address, 0xfffc0000U);
}

TEST(Reader, KnowsPageSizesByTheirBytes) {
    for (const bool last : {false, true}) {
        Buffer stream =
            concat({samples::preamble(), samples::section(Tag::section_start, 2, "ram", 4)});
        append_block_list(stream, (4 << 20) + target_page);
        if (last)
            append_block(stream, "rom", target_page, {}, {});
        append_block(stream, "huge", 4 << 20, 2 << 20, {});
        if (!last)
            append_block(stream, "rom", target_page, {}, {});
        append(stream, samples::ram_rests());
        const auto items = read_all(stream);
        ASSERT_TRUE(items) << items.error().message;
        const RamBlockList list = only<RamBlockList>(*items).at(0);
        EXPECT_EQ(list.blocks.at(last ? 1 : 0).page_size, 2U << 20);
        EXPECT_FALSE(list.blocks.at(last ? 0 : 1).page_size);
        Buffer again;
        for (const Item& item : *items)
            samples::encode(again, item);
        EXPECT_EQ(again, stream);
    }
}

TEST(Reader, NeedsNoSectionFooters) {
    Buffer stream = samples::until_ram();
    append_end_of_ram(stream);
    append(stream, samples::section(Tag::section_part, samples::ram_id, "", 0));
    append_end_of_ram(stream);
    append_eof(stream);
    EXPECT_TRUE(read_all(stream));
}

TEST(Reader, PassesDeviceStateThroughOnceRamHasEnded) {
    const Buffer devices = concat({samples::section(Tag::section_full, 0, "timer", 2),
                                   bytes({1, 2, 3, 0x7e, 0, 0, 0, 0, 0, 0x06})});
    const Buffer stream = concat({samples::until_ram(), samples::ram_rests(),
                                  samples::section(Tag::section_end, samples::ram_id, "", 0),
                                  samples::ram_rests(), devices});
    const auto items = read_all(stream);
    ASSERT_TRUE(items) << items.error().message;
    EXPECT_EQ(only<SectionHeader>(*items).back().name, "timer");
    EXPECT_EQ(only<Raw>(*items).at(0).bytes.size(), 10U);
}

TEST(Reader, ReadsADescriptionAfterTheEnd) {
    Buffer stream = samples::postcopy();
    append_vm_description(stream, "{\"page_size\": 4096}");
    const auto items = read_all(stream);
    ASSERT_TRUE(items) << items.error().message;
    EXPECT_EQ(only<VmDescription>(*items).at(0).json, "{\"page_size\": 4096}");
}

TEST(Reader, ReadsTheUrgentChannel) {
    Buffer stream = concat({samples::page("pc.ram", 3, 1), samples::zero("", 4),
                            samples::zero("rom", 0), samples::zero("pc.ram", 5)});
    append_end_of_ram(stream);
    const auto items = read_all(stream, Start::records);
    ASSERT_TRUE(items) << items.error().message;
    ASSERT_EQ(items->size(), 5U);
    EXPECT_EQ(only<RamZero>(*items)[2].index, 0U);
    EXPECT_TRUE(std::holds_alternative<EndOfRam>(items->back()));
}

TEST(Reader, TakesNothingMoreFromTheUrgentChannelAfterItsEnd) {
    Buffer stream = concat({samples::zero("pc.ram", 3)});
    append_end_of_ram(stream);
    append_end_of_ram(stream);
    const auto items = read_all(stream, Start::records);
    ASSERT_FALSE(items);
    EXPECT_THAT(items.error().message,
                HasSubstr("expected the end of the stream, found 8 more bytes"));
}

TEST(Reader, TakesPagesInARowTogether) {
    const Buffer stream =
        concat({samples::page("pc.ram", 3, 1), samples::page("", 4, 1), samples::page("", 5, 1),
                samples::page("", 7, 1), samples::zero("", 8), samples::zero("", 9),
                samples::zero("pc.ram", 10), samples::page("", 11, 1)});
    Reader reader(Start::records);
    std::span<const std::byte> input = stream;
    EXPECT_FALSE(reader.next_run(input)) << "no block has been named";
    ASSERT_TRUE(reader.next(input).value());
    for (const auto& [first, pages, zero] :
         {std::tuple(4, 2U, false), {7, 1U, false}, {8, 2U, true}}) {
        const auto run = reader.next_run(input);
        ASSERT_TRUE(run) << first;
        EXPECT_EQ(run->block, "pc.ram");
        EXPECT_EQ(run->offset, first * target_page);
        EXPECT_EQ(run->pages, pages);
        EXPECT_EQ(run->zero, zero);
    }
    EXPECT_FALSE(reader.next_run(input)) << "a name";
    ASSERT_TRUE(reader.next(input).value());
    auto cut = input.first(input.size() - 1);
    EXPECT_FALSE(reader.next_run(cut)) << "not all there";
    EXPECT_TRUE(reader.next_run(input));
    EXPECT_EQ(reader.position(), stream.size());
}

TEST(Reader, ReadsARecoveredStream) {
    const Buffer stream =
        concat({samples::command(CommandCode::recv_bitmap, bytes({3, 'r', 'o', 'm'})),
                samples::command(CommandCode::postcopy_resume),
                samples::section(Tag::section_part, samples::ram_id, "", 0),
                samples::zero("pc.ram", 5), samples::ram_rests(), bytes({0})});
    const auto items = read_all(stream, Start::entry);
    ASSERT_TRUE(items) << items.error().message;
    EXPECT_EQ(only<SectionHeader>(*items).at(0).name, "ram");
}

TEST(Reader, RepeatsItsFirstError) {
    Reader reader;
    const Buffer wrong = bytes({'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'});
    std::span<const std::byte> input = wrong;
    const auto first = reader.next(input);
    ASSERT_FALSE(first);
    const Buffer right = samples::postcopy();
    input = right;
    const auto second = reader.next(input);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().message, first.error().message);
}

TEST(Reader, SaysWhereTheErrorIs) {
    const Buffer before = samples::until_ram();
    const auto items = read_all(concat({before, samples::record(0x1)}));
    ASSERT_FALSE(items);
    EXPECT_THAT(items.error().message, HasSubstr(fmt::format("byte {}:", before.size())));
}

// ---- one test for each malformed input

struct Lie {
    std::string name;
    Buffer stream;
    std::string says;
    ErrorKind kind = ErrorKind::protocol;
    Start start = Start::header;
};

void PrintTo(const Lie& lie, std::ostream* out) {
    *out << lie.name;
}

class Malformed : public testing::TestWithParam<Lie> {};

TEST_P(Malformed, IsRefused) {
    const auto items = read_all(GetParam().stream, GetParam().start);
    ASSERT_FALSE(items);
    EXPECT_THAT(items.error().message, HasSubstr(GetParam().says));
    EXPECT_EQ(items.error().kind, GetParam().kind);
}

Buffer after_ram(std::initializer_list<Buffer> parts) {
    return concat({samples::until_ram(), samples::ram_rests(), concat(parts)});
}
Buffer in_ram(std::initializer_list<Buffer> parts) {
    return concat({samples::until_ram(), concat(parts)});
}
Buffer configured(const Buffer& rest) {
    return concat({samples::preamble(), rest, samples::command(CommandCode::open_return_path)});
}
/// A list of blocks with an announced total of 16 pages.
Buffer blocks(std::initializer_list<std::pair<std::string_view, std::uint64_t>> list) {
    Buffer out = concat({samples::preamble(), samples::section(Tag::section_start, 2, "ram", 4)});
    append_block_list(out, 16 * target_page);
    for (const auto& [name, length] : list)
        append_block(out, name, length, {}, {});
    return concat({out, samples::ram_rests()});
}
Buffer many_blocks() {
    Buffer out = concat({samples::preamble(), samples::section(Tag::section_start, 2, "ram", 4)});
    append_block_list(out, (max_blocks + 1) * target_page);
    for (std::size_t i = 0; i <= max_blocks; ++i)
        append_block(out, fmt::format("{}", i), target_page, {}, {});
    return concat({out, samples::ram_rests()});
}
Buffer many_urgent_blocks() {
    Buffer out;
    for (std::size_t i = 0; i <= max_blocks; ++i)
        append(out, samples::zero(fmt::format("{}", i), 0));
    return out;
}

constexpr auto unsupported = ErrorKind::unsupported;

std::vector<Lie> lies_of_the_configuration() {
    const Buffer uuid = samples::subsection(uuid_subsection, 1, Buffer(16));
    return {
        {"NoQemuStream", bytes({'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}),
         "expected a QEMU migration"},
        {"OtherVersion", concat({be32(file_magic), be32(2)}), "found 5145564d version 2"},
        {"MultifdChannel", concat({be32(multifd_magic), be32(1)}), "multifd", unsupported},
        {"LongMachineName", concat({samples::header(), bytes({0x07}), be32(max_machine_name + 1)}),
         "bytes, found 4097"},
        {"SecondConfiguration", concat({samples::preamble(), bytes({0x07, 0, 0, 0, 0})}),
         "only directly after the file header"},
        {"UnknownSubsection", configured(samples::subsection("configuration/mood", 1, {})),
         "'configuration/mood'", unsupported},
        {"SubsectionVersion", configured(samples::subsection(uuid_subsection, 2, Buffer(16))),
         "expected version 1 of subsection", unsupported},
        {"SubsectionTwice", configured(concat({uuid, uuid})), "duplicate subsection"},
        {"ManyCapabilities",
         configured(samples::subsection(capabilities_subsection, 1, be32(max_capabilities + 1))),
         "at most 256 capabilities, found 257"},
        {"MappedRam", configured(samples::capabilities({"mapped-ram"})),
         "capability mapped-ram enabled", unsupported},
        {"OtherPageSize", configured(samples::subsection(page_bits_subsection, 1, be32(16))),
         "2^16", unsupported},
    };
}

std::vector<Lie> lies_of_entries() {
    const Buffer end =
        concat({samples::section(Tag::section_end, samples::ram_id, "", 0), samples::ram_rests()});
    return {
        {"UnknownTag", after_ram({bytes({0x42})}), "found byte 0x42"},
        {"SubsectionOutside", after_ram({bytes({0x05})}), "found byte 0x05"},
        {"FooterAlone", concat({samples::preamble(), bytes({0x7e, 0, 0, 0, 2})}),
         "section footer without a section"},
        {"SecondFooter", after_ram({bytes({0x7e, 0, 0, 0, 2})}),
         "section footer without a section"},
        {"FooterOfAnother", in_ram({samples::record(ram_eos), bytes({0x7e, 0, 0, 0, 9})}),
         "expected the footer of section 2, found that of section 9"},
        {"SectionNeverBegan", after_ram({samples::section(Tag::section_part, 9, "", 0)}),
         "section 9 continues but was never started"},
        {"SectionNeverBeganAtEnd", after_ram({end, samples::section(Tag::section_end, 9, "", 0)}),
         "section 9 continues but was never started"},
        {"RamVersion",
         concat({samples::preamble(), samples::section(Tag::section_start, 2, "ram", 5)}),
         "to be 'ram' instance 0 version 4, found 'ram' instance 0 version 5", unsupported},
        {"RamsIdTaken",
         after_ram({samples::section(Tag::section_start, samples::ram_id, "vfio", 1)}),
         "found 'vfio'", unsupported},
        {"DeviceBeforeRam",
         concat(
             {samples::preamble(), samples::section(Tag::section_full, 9, "virtio-mem-early", 1)}),
         "device 'virtio-mem-early' sends state while the VM runs", unsupported},
        {"DeviceBesideRam", after_ram({samples::section(Tag::section_start, 3, "dirty-bitmap", 1)}),
         "device 'dirty-bitmap'", unsupported},
        {"UnknownCommand", after_ram({bytes({8, 0, 12, 0, 0})}), "unknown command 12", unsupported},
        {"InvalidCommand", after_ram({bytes({8, 0, 0, 0, 0})}), "unknown command 0", unsupported},
        {"CommandLength", after_ram({bytes({8, 0, 2, 0, 3})}),
         "invalid payload of 3 bytes for command 2"},
        {"PackagedLength", after_ram({bytes({8, 0, 7, 0, 8})}),
         "invalid payload of 8 bytes for command 7"},
        {"HugePackage", after_ram({bytes({8, 0, 7, 0, 4, 0xff, 0xff, 0xff, 0xff})}),
         "a package of at most 268435456 bytes, found 4294967295"},
        {"Colo", after_ram({samples::command(CommandCode::enable_colo)}),
         "capability x-colo enabled", unsupported},
        {"BytesAfterTheEnd", after_ram({bytes({0, 1, 2, 3, 4})}), "after EOF, found 0x01"},
        {"HugeDescription", after_ram({bytes({0, 6, 0x7f, 0, 0, 0})}), "bytes, found 2130706432"},
        {"BytesAfterTheDescription", after_ram({bytes({0, 6, 0, 0, 0, 0, 9})}),
         "expected the end of the stream, found 1 more bytes"},
    };
}

std::vector<Lie> lies_of_ram() {
    const std::uint64_t whole = 16 * target_page;
    return {
        {"Xbzrle", in_ram({samples::record(ram_xbzrle)}), "capability xbzrle enabled", unsupported},
        {"Compress", in_ram({samples::record(ram_compress)}), "capability compress enabled",
         unsupported},
        {"Multifd", in_ram({samples::record(ram_multifd_flush)}), "capability multifd enabled",
         unsupported},
        {"Rdma", in_ram({samples::record(ram_hook)}), "RDMA", unsupported},
        {"UnknownFlag", in_ram({samples::record(0x800 | ram_page)}), "flags 0x808"},
        {"TwoKinds", in_ram({samples::record(ram_page | ram_zero)}), "flags 0xa"},
        {"NoKind", in_ram({samples::record(0)}), "flags 0x0"},
        {"NothingToContinue", in_ram({samples::record(ram_zero | ram_continue)}),
         "before any record named a block"},
        {"UnannouncedBlock", in_ram({samples::zero("vga.vram", 0)}),
         "unknown RAM block 'vga.vram'"},
        {"PageBeforeTheList",
         concat({samples::preamble(), samples::section(Tag::section_start, 2, "ram", 4),
                 samples::zero("pc.ram", 0)}),
         "unknown RAM block 'pc.ram'"},
        {"PageBeyondItsBlock", in_ram({samples::page("rom", 2, 1)}),
         "page 0x2000 is beyond the end of RAM block 'rom'"},
        {"FilledPage", in_ram({samples::record(ram_zero), bytes({3, 'r', 'o', 'm', 0x55})}),
         "'rom', found 0x55"},
        {"SecondList", in_ram({samples::record(whole | ram_mem_size)}), "duplicate list"},
        {"MuchRam",
         concat({samples::preamble(), samples::section(Tag::section_start, 2, "ram", 4),
                 samples::record((max_ram << 1) | ram_mem_size)}),
         "bytes of RAM, found 0x20000000000000"},
        {"EmptyBlock", blocks({{"a", 0}}), "'a' of 0x0 bytes"},
        {"PartOfAPage", blocks({{"a", 0x1800}}), "'a' of 0x1800 bytes"},
        {"BlockBeyondTheSum", blocks({{"a", target_page}, {"b", whole}}),
         "'b' of 0x10000 bytes, with 0xf000 of 0x10000 remaining"},
        {"BlockTwice", blocks({{"a", target_page}, {"a", target_page}, {"b", whole}}),
         "invalid RAM block 1: 'a'"},
        {"NamelessBlock", blocks({{"", whole}}), "invalid RAM block 0: ''"},
        {"ManyBlocks", many_blocks(), "invalid RAM block 4096: '4096'"},
        {"UrgentList", samples::record(whole | ram_mem_size), "flags 0x4", ErrorKind::protocol,
         Start::records},
        {"UrgentNamelessBlock", samples::zero("", 0), "before any record named a block",
         ErrorKind::protocol, Start::records},
        {"ManyUrgentBlocks", many_urgent_blocks(), "after 4096 others", ErrorKind::protocol,
         Start::records},
    };
}

std::string name_of(const testing::TestParamInfo<Lie>& info) {
    return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Configuration, Malformed, testing::ValuesIn(lies_of_the_configuration()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Entry, Malformed, testing::ValuesIn(lies_of_entries()), name_of);
INSTANTIATE_TEST_SUITE_P(Ram, Malformed, testing::ValuesIn(lies_of_ram()), name_of);

}  // namespace
}  // namespace gc::stream
