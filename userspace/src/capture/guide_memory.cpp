// SPDX-License-Identifier: GPL-2.0-or-later
#include "capture/guide_memory.h"

#include "util/page.h"
#include "util/pidfd.h"
#include "util/process_maps.h"

#include <array>
#include <cerrno>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace gc::capture {
namespace {

constexpr std::size_t max_faults = 16;

/// Whether it failed for a reason that is none: the page is there, or the guide is changing its
/// address space (userfaultfd(2) and mm/userfaultfd.c).
bool repeats(int error) {
    return error == EAGAIN || error == EINTR;
}

}  // namespace

Result<GuideMemory> GuideMemory::take(const GuidePlace& place) {
    GC_TRY(const std::vector<int> numbers, process_fds(place.pid, "anon_inode:[userfaultfd]"));
    if (numbers.empty())
        return fail(ErrorKind::unsupported, "the guide has no userfaultfd");
    UniqueFd fd(::pidfd_getfd(place.pidfd, numbers.front(), 0));
    if (!fd)
        return fail_errno(errno, "take the guide's userfaultfd");
    return GuideMemory(std::move(fd));
}

Result<std::span<const std::uint64_t>> GuideMemory::read() {
    std::array<uffd_msg, max_faults> messages;
    // QEMU has made it non-blocking (postcopy_ram_incoming_setup() in migration/postcopy-ram.c).
    const ssize_t got = ::read(fd_.get(), messages.data(), sizeof(messages));
    addresses_.clear();
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        return fail_errno(errno, "read the guide's userfaultfd");
    for (std::size_t i = 0; got > 0 && i < static_cast<std::size_t>(got) / sizeof(uffd_msg); ++i)
        if (messages[i].event == UFFD_EVENT_PAGEFAULT)
            addresses_.push_back(messages[i].arg.pagefault.address & ~std::uint64_t{page_size - 1});
    return std::span<const std::uint64_t>(addresses_);
}

Result<void> GuideMemory::place(std::uint64_t address,
                                std::optional<std::span<const std::byte>> content) {
    for (;;) {
        int done = 0;
        if (content) {
            uffdio_copy copy{.dst = address,
                             .src = reinterpret_cast<std::uintptr_t>(content->data()),
                             .len = page_size,
                             .mode = 0,
                             .copy = 0};
            done = ::ioctl(fd_.get(), UFFDIO_COPY, &copy);
        } else {
            uffdio_zeropage zero{
                .range = {.start = address, .len = page_size}, .mode = 0, .zeropage = 0};
            done = ::ioctl(fd_.get(), UFFDIO_ZEROPAGE, &zero);
        }
        if (done == 0)
            return {};
        if (errno == EEXIST) {
            repeat(address);
            return {};
        }
        if (!repeats(errno))
            return fail_errno(errno, "put a page of the guide in place");
    }
}

void GuideMemory::repeat(std::uint64_t address) const {
    uffdio_range range{.start = address, .len = page_size};
    ::ioctl(fd_.get(), UFFDIO_WAKE, &range);
}

}  // namespace gc::capture
