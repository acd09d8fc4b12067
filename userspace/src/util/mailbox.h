// SPDX-License-Identifier: GPL-2.0-or-later
// A thread-safe queue with a pollable descriptor.
#pragma once

#include "util/fd.h"
#include "util/poll.h"

#include <cerrno>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <sys/eventfd.h>
#include <unistd.h>

namespace gc {
inline namespace util {

/// An eventfd that is readable from the first signal() until clear(). Thread-safe.
class Waker {
  public:
    static Result<Waker> create() {
        UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!fd)
            return fail_errno(errno, "eventfd");
        return Waker(std::move(fd));
    }
    [[nodiscard]] int fd() const { return fd_.get(); }
    void signal() const { ::eventfd_write(fd_.get(), 1); }
    void clear() const {
        eventfd_t value = 0;
        ::eventfd_read(fd_.get(), &value);
    }
    /// Waits until it is signalled or the deadline passes, and clears it.
    void wait(Deadline deadline) const {
        (void)wait_readable(fd_.get(), deadline);
        clear();
    }

  private:
    explicit Waker(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
};

/// A queue for many writers and one reader.
template <typename T> class Mailbox {
  public:
    explicit Mailbox(Waker waker) : waker_(std::move(waker)) {}

    void post(T item) {
        {
            const std::lock_guard lock(mutex_);
            items_.push_back(std::move(item));
        }
        waker_.signal();
    }

    /// The oldest item. The descriptor stays readable while items remain.
    std::optional<T> take() {
        const std::lock_guard lock(mutex_);
        if (items_.empty()) {
            waker_.clear();
            return std::nullopt;
        }
        T item = std::move(items_.front());
        items_.pop_front();
        return item;
    }

    [[nodiscard]] int fd() const { return waker_.fd(); }

  private:
    Waker waker_;
    std::mutex mutex_;
    std::deque<T> items_;
};

}  // namespace util
}  // namespace gc
