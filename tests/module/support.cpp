// SPDX-License-Identifier: GPL-2.0-or-later
#include "support.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <poll.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace gc::capture::test {
namespace {

using Clock = std::chrono::steady_clock;

// A test that cannot be set up has failed; GoogleTest reports the exception as such.
template <typename T> T must(Result<T> result) {
    if (!result)
        throw std::runtime_error(result.error().message);
    return std::move(*result);
}

/// Closes what a child must not share with its parent: control descriptors of sessions.
void drop_sessions() {
    for (int fd = 3; fd < 256; ++fd) {
        std::array<char, 64> target{};
        const std::string link = fmt::format("/proc/self/fd/{}", fd);
        if (::readlink(link.c_str(), target.data(), target.size() - 1) > 0 &&
            std::string_view(target.data()) == GC_DEVICE_PATH)
            ::close(fd);
    }
}

}  // namespace

UniqueFd memory_file(std::size_t pages) {
    UniqueFd fd(::memfd_create("guidecopy-test", MFD_CLOEXEC));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(pages * page_size)) != 0)
        throw std::runtime_error("memfd");
    const Pages source(fd.get(), pages, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (std::size_t page = 0; page < pages; ++page)
        source.write(page, pattern(page));
    return fd;
}

Pages::Pages(int fd, std::size_t count, int prot, int flags, std::size_t first)
    : mapping_(must(Mapping::map(fd, count * page_size, prot, flags,
                                 static_cast<off_t>(first * page_size), "test pages"))) {}

std::uint64_t* Pages::word(std::size_t page) const {
    return reinterpret_cast<std::uint64_t*>(mapping_.data() + page * page_size);
}

std::uint64_t Pages::read(std::size_t page) const {
    return *static_cast<volatile std::uint64_t*>(word(page));
}

void Pages::write(std::size_t page, std::uint64_t value) const {
    *static_cast<volatile std::uint64_t*>(word(page)) = value;
}

UniqueFd open_node(int node, int flags) {
    return UniqueFd(::open(fmt::format("/proc/self/fd/{}", node).c_str(), flags | O_CLOEXEC));
}

Pages map_node(int node, std::size_t count, int prot) {
    const UniqueFd fd = open_node(node);
    if (!fd)
        throw std::runtime_error("open the node");
    return Pages(fd.get(), count, prot);
}

Session make_session(const UniqueFd& file, std::size_t pages, std::uint32_t entries,
                     std::size_t first) {
    return must(Session::create(file.get(), first * page_size, pages * page_size, entries));
}

std::vector<Record> take(Session& session, std::size_t count, std::chrono::milliseconds limit) {
    std::vector<Record> records;
    const auto deadline = Clock::now() + limit;
    std::array<Record, 256> buffer{};
    while (records.size() < count && Clock::now() < deadline) {
        const std::size_t want = std::min(buffer.size(), count - records.size());
        const std::size_t got = must(session.read(std::span(buffer).first(want)));
        records.insert(records.end(), buffer.begin(), buffer.begin() + static_cast<long>(got));
        if (got == 0)
            poll_events(session.fd(), 50ms);
    }
    return records;
}

std::vector<Record> take_ready(Session& session) {
    std::vector<Record> records;
    std::array<Record, 256> buffer{};
    while (const std::size_t got = must(session.read(buffer)))
        records.insert(records.end(), buffer.begin(), buffer.begin() + static_cast<long>(got));
    return records;
}

std::vector<std::uint64_t> pages_of(const std::vector<Record>& records) {
    std::vector<std::uint64_t> pages;
    for (const Record& record : records)
        pages.push_back(record.page);
    return pages;
}

short poll_events(int fd, std::chrono::milliseconds limit) {
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(limit.count()));
    return ready > 0 ? entry.revents : short{0};
}

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    while (!condition()) {
        if (Clock::now() >= deadline)
            return false;
        std::this_thread::sleep_for(5ms);
    }
    return true;
}

Child::Child(const std::function<int()>& body) : pid_(::fork()) {
    if (pid_ != 0)
        return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    drop_sessions();
    int status = 99;
    try {
        status = body();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "child: %s\n", error.what());
    }
    ::_exit(status);
}

Child::~Child() {
    if (status_ >= 0)
        return;
    signal(SIGKILL);
    wait();
}

void Child::signal(int number) const {
    ::kill(pid_, number);
}

int Child::wait(std::chrono::milliseconds limit) {
    eventually(
        [this] {
            int raw = 0;
            if (status_ < 0 && ::waitpid(pid_, &raw, WNOHANG) == pid_)
                status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
            return status_ >= 0;
        },
        limit);
    return status_;
}

Setting::Setting(std::string path, const std::string& value) : path_(std::move(path)) {
    std::getline(std::ifstream(path_), before_);
    // "always [never] madvise": the one in brackets is in force.
    if (const auto open = before_.find('['); open != std::string::npos)
        before_ = before_.substr(open + 1, before_.find(']') - open - 1);
    std::ofstream file(path_);
    file << value << std::flush;
    ok_ = file.good();
}

Setting::~Setting() {
    std::ofstream(path_) << before_ << std::flush;
}

}  // namespace gc::capture::test
