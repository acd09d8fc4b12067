// SPDX-License-Identifier: GPL-2.0-or-later
// The node's mappings: private to their writer, through fork, split, move, re-arm and huge pages,
// and after the end of the session.
#include "support.h"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <poll.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t pages = 64;

class NodeMapping : public testing::Test {
  protected:
    UniqueFd file_ = memory_file(pages);
    std::optional<Session> session_{make_session(file_, pages)};
};

TEST_F(NodeMapping, WritesNeverReachTheFile) {
    const Pages source(file_.get(), pages, PROT_READ | PROT_WRITE, MAP_SHARED);
    const Pages memory = map_node(session_->node(), pages);
    for (std::size_t page = 0; page < pages; ++page)
        memory.write(page, 1);
    for (std::size_t page = 0; page < pages; ++page) {
        EXPECT_EQ(source.read(page), pattern(page));
        EXPECT_EQ(memory.read(page), 1U);
    }
    std::vector<std::uint64_t> words(pages * page_size / 8);
    ASSERT_EQ(::pread(file_.get(), words.data(), pages * page_size, 0),
              static_cast<ssize_t>(pages * page_size));
    for (std::size_t page = 0; page < pages; ++page)
        EXPECT_EQ(words[page * page_size / 8], pattern(page));
}

TEST_F(NodeMapping, NothingButPrivateMappingIsPossible) {
    const UniqueFd node = open_node(session_->node());
    ASSERT_TRUE(node);
    for (const int prot : {PROT_READ, PROT_READ | PROT_WRITE}) {
        EXPECT_EQ(::mmap(nullptr, page_size, prot, MAP_SHARED, node.get(), 0), MAP_FAILED);
        EXPECT_EQ(errno, EACCES);
    }
    const UniqueFd read_only = open_node(session_->node(), O_RDONLY);
    EXPECT_EQ(::mmap(nullptr, page_size, PROT_READ, MAP_SHARED, read_only.get(), 0), MAP_FAILED);
    EXPECT_EQ(errno, EACCES);

    std::uint64_t word = 0;
    EXPECT_LT(::pwrite(node.get(), &word, sizeof(word), 0), 0);
    EXPECT_LT(::pread(node.get(), &word, sizeof(word), 0), 0);
    EXPECT_LT(::ftruncate(node.get(), 0), 0);
    EXPECT_FALSE(open_node(node.get(), O_RDWR | O_TRUNC));
    EXPECT_LT(::fchmod(node.get(), 0600), 0);
    EXPECT_LT(::fchown(node.get(), 0, 0), 0);
    EXPECT_LT(::fallocate(node.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page_size), 0);
    const Pages memory(node.get(), pages);
    EXPECT_LT(::madvise(memory.data(), page_size, MADV_REMOVE), 0);
    EXPECT_EQ(memory.read(0), pattern(0));
}

TEST_F(NodeMapping, SizeIsThatOfTheSession) {
    const UniqueFd node = open_node(session_->node());
    EXPECT_EQ(::lseek(node.get(), 0, SEEK_END), static_cast<off_t>(pages * page_size));
    struct stat status {};
    ASSERT_EQ(::fstat(node.get(), &status), 0);
    EXPECT_TRUE(S_ISREG(status.st_mode));
    EXPECT_EQ(status.st_size, static_cast<off_t>(pages * page_size));
    EXPECT_EQ(::mmap(nullptr, (pages + 1) * page_size, PROT_READ, MAP_PRIVATE, node.get(), 0),
              MAP_FAILED);
    EXPECT_EQ(errno, ENXIO);
    EXPECT_EQ(
        ::mmap(nullptr, 2 * page_size, PROT_READ, MAP_PRIVATE, node.get(), (pages - 1) * page_size),
        MAP_FAILED);
    EXPECT_EQ(errno, ENXIO);
    EXPECT_EQ(::mmap(nullptr, page_size, PROT_READ, MAP_PRIVATE, node.get(), off_t{1} << 62),
              MAP_FAILED);
}

TEST_F(NodeMapping, ForkedChildIsRecordedToo) {
    Pages memory = map_node(session_->node(), pages);
    memory.write(0, 5);
    Child child([&] {
        if (memory.read(0) != 5 || memory.read(1) != pattern(1))
            return 1;
        memory.write(2, 6);
        std::this_thread::sleep_for(500ms);
        return memory.read(3) == pattern(3) ? 0 : 2;
    });
    memory.unmap();  // the child's copy stands alone
    EXPECT_EQ(child.wait(), 0);
    const auto records = take_ready(*session_);
    ASSERT_THAT(pages_of(records), ElementsAre(0, 1, 2, 3));
    EXPECT_EQ(records[1].tid, static_cast<std::uint32_t>(child.pid()));
    EXPECT_EQ(session_->stats().value().mappings, 0U);
}

TEST_F(NodeMapping, SplitsAndMovesAreFollowed) {
    const Pages memory = map_node(session_->node(), pages);
    ASSERT_EQ(::munmap(memory.data() + 10 * page_size, page_size), 0);
    EXPECT_EQ(session_->stats().value().mappings, 2U);
    ASSERT_EQ(::mprotect(memory.data() + 20 * page_size, page_size, PROT_READ), 0);
    EXPECT_EQ(session_->stats().value().mappings, 4U);
    EXPECT_EQ(memory.read(9), pattern(9));
    EXPECT_EQ(memory.read(11), pattern(11));

    void* moved = ::mremap(
        memory.data() + 40 * page_size, 4 * page_size, 4 * page_size, MREMAP_MAYMOVE | MREMAP_FIXED,
        ::mmap(nullptr, 4 * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(moved, MAP_FAILED);
    const Mapping target(moved, 4 * page_size);
    const auto* word = reinterpret_cast<volatile std::uint64_t*>(target.data() + 2 * page_size);
    EXPECT_EQ(*word, pattern(42));
    EXPECT_THAT(pages_of(take_ready(*session_)), ElementsAre(9, 11, 42));
    // It cannot grow over what comes after it in the file.
    EXPECT_EQ(::mremap(moved, 4 * page_size, 8 * page_size, MREMAP_MAYMOVE), MAP_FAILED);
}

TEST_F(NodeMapping, PlainMappingBesideItStaysPlain) {
    const UniqueFd node = open_node(session_->node());
    const Pages area(-1, 8, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    const int flags = MAP_PRIVATE | MAP_FIXED;
    ASSERT_NE(::mmap(area.data(), 4 * page_size, PROT_READ, flags, node.get(), 0), MAP_FAILED);
    ASSERT_NE(::mmap(area.data() + 4 * page_size, 4 * page_size, PROT_READ, flags, file_.get(),
                     4 * page_size),
              MAP_FAILED);
    EXPECT_EQ(area.read(5), pattern(5));
    EXPECT_EQ(area.read(1), pattern(1));
    EXPECT_THAT(pages_of(take_ready(*session_)), ElementsAre(1));
}

TEST_F(NodeMapping, MappingOutlivesTheSession) {
    UniqueFd node = open_node(session_->node());
    const Pages memory(node.get(), pages);
    memory.write(1, 77);
    session_.reset();
    EXPECT_FALSE(open_node(node.get()));
    EXPECT_EQ(errno, ENODEV);
    EXPECT_EQ(::mmap(nullptr, page_size, PROT_READ, MAP_PRIVATE, node.get(), 0), MAP_FAILED);
    EXPECT_EQ(errno, ENODEV);
    node.reset();
    file_.reset();
    EXPECT_EQ(memory.read(1), 77U);
    EXPECT_EQ(memory.read(2), pattern(2));
    memory.write(3, 4);
    EXPECT_EQ(memory.read(3), 4U);
}

TEST_F(NodeMapping, BackingDescriptorMayBeClosed) {
    file_.reset();
    const Pages memory = map_node(session_->node(), pages);
    EXPECT_EQ(memory.read(4), pattern(4));
}

TEST_F(NodeMapping, TruncatedFileIsABusError) {
    Child guide([&] {
        const Pages memory = map_node(session_->node(), pages);
        ::pause();
        return static_cast<int>(memory.read(0));
    });
    const int node = session_->node();
    ASSERT_EQ(::ftruncate(file_.get(), page_size), 0);
    Child second([&] {
        const Pages memory = map_node(node, pages);
        return memory.read(5) == 0 ? 0 : 1;
    });
    EXPECT_EQ(second.wait(), 128 + SIGBUS);
}

TEST_F(NodeMapping, RearmedPagesAreRecordedAgain) {
    const Pages memory = map_node(session_->node(), pages);
    for (std::size_t page = 0; page < 8; ++page)
        (void)memory.read(page);
    EXPECT_EQ(take_ready(*session_).size(), 8U);
    ASSERT_TRUE(session_->rearm(2, 3));
    EXPECT_EQ(session_->stats().value().rearmed, 3U);
    EXPECT_EQ(session_->stats().value().touched, 5U);
    for (std::size_t page = 0; page < 8; ++page)
        EXPECT_EQ(memory.read(page), pattern(page));
    EXPECT_THAT(pages_of(take_ready(*session_)), ElementsAre(2, 3, 4));
    ASSERT_TRUE(session_->rearm(0, pages));
    EXPECT_EQ(session_->stats().value().touched, 0U);
    for (std::size_t page = 0; page < 8; ++page)
        (void)memory.read(page);
    EXPECT_EQ(take_ready(*session_).size(), 8U);
}

TEST_F(NodeMapping, RearmKeepsWhatWasWrittenPrivately) {
    const Pages memory = map_node(session_->node(), pages);
    memory.write(1, 11);
    (void)memory.read(2);
    (void)take_ready(*session_);
    ASSERT_TRUE(session_->rearm(0, pages));
    EXPECT_EQ(memory.read(1), 11U);
    EXPECT_EQ(memory.read(2), pattern(2));
    EXPECT_THAT(pages_of(take_ready(*session_)), ElementsAre(2));
}

TEST_F(NodeMapping, RearmWhileAGuideRuns) {
    const Pages source(file_.get(), pages, PROT_READ, MAP_SHARED);
    Child guide([&] {
        const Pages memory = map_node(session_->node(), pages);
        for (;;)
            for (std::size_t page = 0; page < pages; ++page)
                if (memory.read(page) != pattern(page))
                    return 1;
    });
    std::uint64_t seen = 0;
    for (int round = 0; round < 300; ++round) {
        ASSERT_TRUE(session_->rearm(0, pages));
        seen += take(*session_, static_cast<std::size_t>(round) % pages).size();
        // In the midst of faults, however short. Then each page once more: none has stayed mapped.
        for (int again = 0; again < 50; ++again)
            ASSERT_TRUE(session_->rearm(0, pages));
        ASSERT_TRUE(eventually([&] {
            seen += take_ready(*session_).size();
            return session_->stats().value().touched == pages;
        })) << round;
        ASSERT_EQ(source.read(static_cast<std::size_t>(round) % pages),
                  pattern(static_cast<std::size_t>(round) % pages));
    }
    EXPECT_EQ(guide.wait(0ms), -1);
    guide.signal(SIGKILL);
    guide.wait();
    seen += take_ready(*session_).size();
    const Stats stats = session_->stats().value();
    EXPECT_EQ(stats.records, seen);
    EXPECT_EQ(stats.records, stats.rearmed + stats.touched);
}

constexpr std::size_t huge_size = std::size_t{2} << 20;
constexpr std::size_t huge_pages = huge_size / page_size;

/// kB of a line of /proc/self/smaps for the mapping at this address.
std::size_t smaps_kb(const void* address, std::string_view key) {
    std::ifstream smaps("/proc/self/smaps");
    const std::string start = fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(address));
    std::string line;
    bool here = false;
    while (std::getline(smaps, line)) {
        if (line.find('-') < line.find(' '))
            here = line.starts_with(start);
        else if (here && line.starts_with(key))
            return std::stoul(line.substr(key.size() + 1));
    }
    return 0;
}

/// An address range that can hold huge pages.
std::byte* aligned_hole(const Pages& area) {
    const auto address = reinterpret_cast<std::uintptr_t>(area.data());
    return area.data() + (huge_size - address % huge_size) % huge_size;
}

class HugePages : public testing::TestWithParam<bool> {};

TEST_P(HugePages, OfTheFileHideNoTouch) {
    const Setting advise("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
    ASSERT_TRUE(advise.ok()) << "this kernel has no transparent huge pages for shmem";
    constexpr std::size_t count = 4 * huge_pages;
    const UniqueFd file(::memfd_create("guidecopy-thp", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), count * page_size), 0);
    const Pages room(-1, count + huge_pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    void* source = ::mmap(aligned_hole(room), count * page_size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED, file.get(), 0);
    ASSERT_NE(source, MAP_FAILED);
    ASSERT_EQ(::madvise(source, count * page_size, MADV_HUGEPAGE), 0);
    std::memset(source, 1, count * page_size);
    ASSERT_EQ(smaps_kb(source, "ShmemPmdMapped:"), count * 4) << "the file has no huge pages";

    Session session = make_session(file, count);
    const UniqueFd node = open_node(session.node());
    const Pages guide_room(-1, count + huge_pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    auto* memory = static_cast<std::byte*>(::mmap(aligned_hole(guide_room), count * page_size,
                                                  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                                                  node.get(), 0));
    ASSERT_NE(static_cast<void*>(memory), MAP_FAILED);
    if (GetParam()) {
        ASSERT_EQ(::madvise(memory, count * page_size, MADV_HUGEPAGE), 0);
    }
    std::vector<std::uint64_t> expected;
    for (std::size_t page = 0; page < count; ++page) {
        const std::byte value = *static_cast<volatile std::byte*>(memory + page * page_size);
        EXPECT_EQ(value, std::byte{1});
        expected.push_back(page);
        if (page % 1000 == 0) {
            ASSERT_EQ(session.stats().value().records, page + 1);
        }
    }
    EXPECT_EQ(pages_of(take_ready(session)), expected);

    // Again after a re-arm, and when somebody asks for a huge page by name.
    ASSERT_TRUE(session.rearm(0, count));
#ifdef MADV_COLLAPSE
    EXPECT_NE(::madvise(memory, count * page_size, MADV_COLLAPSE), 0);
    (void)take_ready(session);
    ASSERT_TRUE(session.rearm(0, count));
#endif
    for (std::size_t page = count; page-- > 0;)
        (void)*static_cast<volatile std::byte*>(memory + page * page_size);
    EXPECT_EQ(take_ready(session).size(), count);
}

INSTANTIATE_TEST_SUITE_P(Node, HugePages, testing::Bool(), [](const auto& param) {
    return param.param ? "WithAdvice" : "WithoutAdvice";
});

}  // namespace
}  // namespace gc::capture::test
