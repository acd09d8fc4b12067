// SPDX-License-Identifier: GPL-2.0-or-later
// Gives QEMU the pages that the source told to be zeros: those that it requests at once, all others
// when nothing else is to be done. See docs/internals/threads-and-locks.md for what may meet.
#pragma once

#include "receive/zero_pages.h"
#include "stream/return_path.h"
#include "stream/writer.h"
#include "util/read_buffer.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

namespace gc::receive {

/// Thread-safe. Every page that was told is handed out once: either to `give` or by take().
class ZeroPlacer {
  public:
    /// Gives QEMU a page at once, from any thread. Best effort: if QEMU does not take it, its
    /// migration is over.
    using Give =
        std::function<void(std::uint32_t ram_section, std::string_view block, std::uint64_t page)>;

    ZeroPlacer(std::vector<ZeroPages::Block> blocks, Give give)
        : give_(std::move(give)), pages_(std::move(blocks)) {}

    // ---- the thread that reads bulk

    /// Adds the pages of a frame, and gives QEMU those that it requested before. Errors: protocol.
    Result<void> told(std::span<const std::byte> frame);
    /// No more pages will be told.
    void told_all();

    // ---- the thread that carries QEMU's return path

    /// QEMU has sent this, and the source does not know of it yet.
    void saw_requests(std::span<const std::byte> bytes);

    // ---- the thread that places what nobody requested

    /// The VM runs: from here on pages are placed that nobody requested. From any thread.
    void begin();
    /// Waits for a page to place. @return false when there will be none
    [[nodiscard]] bool await_work();
    /// Waits a moment, or until hurried().
    void rest();
    /// Whether the pages after the last requested one are next, for which the VM may soon ask.
    [[nodiscard]] bool hurried() const;
    struct Portion {
        stream::Buffer section;   ///< for QEMU's main stream
        std::uint64_t pages = 0;  ///< how many it holds
    };
    /// Takes some pages, which QEMU must then be given; none if others have taken the last ones.
    [[nodiscard]] Portion take();
    /// QEMU was given pages of take().
    void placed(std::uint64_t pages);

    // ---- any thread

    /// Whether the source told that this page is zeros.
    [[nodiscard]] bool is_told(const stream::PageRequest& request) const;
    /// Waits until QEMU was given all pages, and no more can be told. @return false if stop() came
    /// before that
    bool await_placed();
    /// Ends all waits, for good. No page is given any more by calls that begin later.
    void stop();

  private:
    /// While QEMU has not read what it was given.
    static constexpr std::chrono::microseconds pause{200};
    /// Pages in a section. Nobody waits long behind so few.
    static constexpr std::uint64_t portion = 64;
    /// Pages that are hurried after a requested one.
    static constexpr std::uint64_t ahead = portion;

    [[nodiscard]] std::optional<ZeroPages::Page> page_of(const stream::PageRequest& request) const;
    void requested(const stream::PageRequest& request);
    void give(std::span<const ZeroPages::Page> pages);

    const Give give_;
    stream::ReturnPathReader requests_;
    ReadBuffer requests_buffer_;  ///< the beginning of a request
    bool readable_ = true;        ///< what QEMU sends can be understood
    mutable std::mutex mutex_;    ///< protects what follows; never held while QEMU is given pages
    std::condition_variable changed_;
    ZeroPages pages_;
    std::set<ZeroPages::Page> asked_;           ///< requested, and not told until then
    std::optional<std::uint32_t> ram_section_;  ///< set once
    std::uint64_t given_ahead_ = ahead;         ///< pages placed since the last request
    std::uint64_t in_hand_ = 0;                 ///< taken, and not yet given to QEMU
    bool begun_ = false;
    bool told_all_ = false;
    bool stopped_ = false;
};

}  // namespace gc::receive
