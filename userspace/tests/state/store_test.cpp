// SPDX-License-Identifier: GPL-2.0-or-later
#include "state/store.h"

#include "util/whole_file.h"

#include <cstdlib>
#include <filesystem>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::state {
namespace {

using testing::HasSubstr;

class Store : public testing::Test {
  protected:
    Store() {
        std::string name = "/tmp/gc-state-XXXXXX";
        root_ = ::mkdtemp(name.data());
        path_ = root_ + "/state";
        ::setenv("GUIDECOPY_STATE_DIR", path_.c_str(), 1);
    }
    ~Store() override {
        ::unsetenv("GUIDECOPY_STATE_DIR");
        std::filesystem::remove_all(root_);
    }

    static Record record(std::string id = "0123456789abcdef") {
        return {.id = std::move(id),
                .role = Role::source,
                .gcctl = {},
                .qmp = "/run/vm.qmp",
                .qemu = Process::self(),
                .peer = "192.0.2.2:4444",
                .arguments = {"--qmp", "/run/vm.qmp", "--to", "192.0.2.2:4444"},
                .capabilities = {},
                .parameters = {}};
    }
    [[nodiscard]] std::size_t files() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(path_), {}));
    }

    std::string root_;
    std::string path_;
};

TEST_F(Store, IsEmptyWithoutADirectory) {
    const Listing listing = list();
    EXPECT_TRUE(listing.records.empty());
    EXPECT_TRUE(listing.problems.empty());
}

TEST_F(Store, KeepsARecordUntilItIsFinished) {
    auto journal = Journal::begin(record());
    ASSERT_TRUE(journal) << journal.error().message;
    journal->set(Phase::switched_over);
    journal->set(Phase::committed, false);
    const Listing listing = list();
    ASSERT_EQ(listing.records.size(), 1U);
    const Record& found = listing.records[0];
    EXPECT_EQ(found.id, "0123456789abcdef");
    EXPECT_EQ(found.role, Role::source);
    EXPECT_EQ(found.phase, Phase::committed);
    EXPECT_EQ(found.gcctl, Process::self());
    EXPECT_EQ(found.qemu, Process::self());
    EXPECT_EQ(found.peer, "192.0.2.2:4444");
    EXPECT_EQ(found.arguments, record().arguments);
    EXPECT_FALSE(found.runs);
    EXPECT_GT(found.begun, 0);
    journal->finish();
    EXPECT_TRUE(list().records.empty());
    EXPECT_EQ(files(), 0U);
}

TEST_F(Store, IsPrivate) {
    ::umask(0);
    const auto journal = Journal::begin(record());
    ASSERT_TRUE(journal);
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0700U);
    for (const auto& file : std::filesystem::directory_iterator(path_)) {
        ASSERT_EQ(::stat(file.path().c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 07777, 0600U) << file.path();
    }
}

TEST_F(Store, RefusesADirectoryThatOthersCanWriteTo) {
    ::umask(0);
    ::mkdir(path_.c_str(), 0777);
    const auto journal = Journal::begin(record());
    ASSERT_FALSE(journal);
    EXPECT_THAT(journal.error().message, HasSubstr("that nobody else may write to"));
    EXPECT_EQ(files(), 0U);
}

TEST_F(Store, LeavesNothingBehindWithoutRoom) {
    ASSERT_TRUE(Journal::begin(record("00000000000000aa")));
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit none{100, before.rlim_max};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &none);
    const auto journal = Journal::begin(record());
    ::setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_FALSE(journal);
    EXPECT_EQ(files(), 2U);
}

TEST_F(Store, ChangesThePhaseWithoutMoreRoom) {
    auto journal = Journal::begin(record());
    ASSERT_TRUE(journal);
    std::uintmax_t before = 0;
    for (const auto& file : std::filesystem::directory_iterator(path_))
        before += file.file_size();
    for (const Phase phase : {Phase::switched_over, Phase::committed, Phase::running}) {
        journal->set(phase);
        std::uintmax_t now = 0;
        for (const auto& file : std::filesystem::directory_iterator(path_))
            now += file.file_size();
        EXPECT_EQ(now, before);
        EXPECT_EQ(list().records.at(0).phase, phase);
    }
}

/// In an earlier phase it would prove what is not true.
TEST_F(Store, RemovesARecordThatItCannotChange) {
    auto journal = Journal::begin(record());
    ASSERT_TRUE(journal);
    std::filesystem::remove(path_ + "/.0123456789abcdef.source.spare");
    journal->set(Phase::committed);
    EXPECT_TRUE(list().records.empty());
}

TEST_F(Store, NamesFilesThatAreNoRecords) {
    ASSERT_TRUE(Journal::begin(record()));
    ASSERT_TRUE(write_whole_file(path_ + "/x.json", "{}"));
    ASSERT_TRUE(write_whole_file(path_ + "/00000000000000aa.source.json", encode(record())));
    const Listing listing = list();
    EXPECT_EQ(listing.records.size(), 1U);
    EXPECT_EQ(listing.problems.size(), 2U);
}

TEST_F(Store, FindsTheRecordOfAQemu) {
    Record other = record("00000000000000aa");
    other.qmp = "/run/other.qmp";
    ASSERT_TRUE(Journal::begin(record()));
    ASSERT_TRUE(Journal::begin(other));
    // A manager's process is behind both sockets.
    EXPECT_EQ(find(Role::source, Process::self(), "/run/vm.qmp")->id, "0123456789abcdef");
    EXPECT_EQ(find(Role::source, Process::self(), "/run/other.qmp")->id, "00000000000000aa");
    EXPECT_FALSE(find(Role::destination, Process::self(), "/run/vm.qmp"));
    EXPECT_FALSE(find(Role::source, {Process::self().pid, 1}, "/run/vm.qmp"));
}

TEST(StateRecord, HasWhatTheSourceQemuWasSetTo) {
    Record record{.id = "0123456789abcdef",
                  .gcctl = {},
                  .qmp = "/run/vm.qmp",
                  .qemu = {},
                  .peer = {},
                  .arguments = {},
                  .capabilities = {{"events", false}, {"postcopy-ram", true}},
                  .parameters = {{"max-postcopy-bandwidth", 0}}};
    const auto read = decode(encode(record));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->capabilities, record.capabilities);
    EXPECT_EQ(read->parameters, record.parameters);
}

TEST(StateRecord, RejectsWhatIsNoRecord) {
    for (const std::string_view text :
         {"", "[]", "{}", "{\"version\":2}", "{\"version\":1}", "\xff"})
        EXPECT_FALSE(decode(text)) << text;
}

TEST(StateRecord, ReadsVerdicts) {
    EXPECT_EQ(parse_verdict(never_ran("0123456789abcdef")).value(), "0123456789abcdef");
    EXPECT_EQ(parse_verdict("never-ran").value(), "");
    for (const std::string_view text :
         {"", "ran", "never-ran:", "never-ran:0123", "never-ran 0123456789abcdef"})
        EXPECT_FALSE(parse_verdict(text)) << text;
}

TEST(StateProcess, IsNotAnotherOneWithItsPid) {
    const Process self = Process::self();
    EXPECT_TRUE(self.alive());
    EXPECT_FALSE((Process{self.pid, self.start + 1}.alive()));
    EXPECT_FALSE((Process{-1, 0}.alive()));
}

}  // namespace
}  // namespace gc::state
