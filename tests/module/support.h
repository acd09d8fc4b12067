// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of the module share: a backing file, mappings, child processes, bounded waits.
#pragma once

#include "capture/session.h"

#include <chrono>
#include <cstdint>
#include <fcntl.h>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>
#include <sys/types.h>
#include <vector>

namespace gc::capture::test {

using namespace std::chrono_literals;

constexpr std::size_t page_size = 4096;
constexpr std::uint32_t small_ring = GC_RING_MIN_ENTRIES;

/// What page number `page` of a file made by memory_file() contains in its first 8 bytes.
constexpr std::uint64_t pattern(std::uint64_t page) {
    return page ^ 0x5a5a'0000'c0de'0000;
}

/// A memfd whose every page is present and begins with its pattern.
UniqueFd memory_file(std::size_t pages);

/// mmap of whole pages from the start of a file.
class Pages {
  public:
    Pages(int fd, std::size_t count, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE,
          std::size_t first = 0);

    [[nodiscard]] std::uint64_t* word(std::size_t page) const;
    [[nodiscard]] std::uint64_t read(std::size_t page) const;
    void write(std::size_t page, std::uint64_t value) const;
    void unmap() { mapping_ = Mapping(); }
    [[nodiscard]] std::byte* data() const { return mapping_.data(); }
    [[nodiscard]] std::size_t size() const { return mapping_.size(); }

  private:
    Mapping mapping_;
};

/// Opens a node through its descriptor in this process, as QEMU does. Invalid on failure.
UniqueFd open_node(int node, int flags = O_RDWR);

/// A private, writable mapping of a whole node, as QEMU makes it; the file is closed again.
Pages map_node(int node, std::size_t count, int prot = PROT_READ | PROT_WRITE);

/// A session that must come to be.
Session make_session(const UniqueFd& file, std::size_t pages, std::uint32_t entries = 1U << 16,
                     std::size_t first = 0);

/// The next `count` records, or those that came within the time.
std::vector<Record> take(Session& session, std::size_t count,
                         std::chrono::milliseconds limit = 20s);

/// All records that are there now.
std::vector<Record> take_ready(Session& session);

std::vector<std::uint64_t> pages_of(const std::vector<Record>& records);

/// poll(2) of the session's descriptor: the events, 0 on timeout.
short poll_events(int fd, std::chrono::milliseconds limit = 0ms);

/// Waits until the condition holds; false when it does not within the time.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = 20s);

/// A forked process that runs a function and exits with what it returns. It holds no reference to
/// any session of its parent. Killed when this object goes.
class Child {
  public:
    explicit Child(const std::function<int()>& body);
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    [[nodiscard]] pid_t pid() const { return pid_; }
    void signal(int number) const;
    /// Exit status as the shell shows it (128 + signal); -1 when it still runs after the time.
    int wait(std::chrono::milliseconds limit = 20s);

  private:
    pid_t pid_;
    int status_ = -1;
};

/// Writes to a file of sysfs or procfs, and puts back what was there.
class Setting {
  public:
    Setting(std::string path, const std::string& value);
    Setting(const Setting&) = delete;
    Setting& operator=(const Setting&) = delete;
    ~Setting();
    [[nodiscard]] bool ok() const { return ok_; }

  private:
    std::string path_;
    std::string before_;
    bool ok_;
};

}  // namespace gc::capture::test
