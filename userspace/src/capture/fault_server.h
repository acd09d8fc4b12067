// SPDX-License-Identifier: GPL-2.0-or-later
// Capture without the kernel module: the guide's QEMU is a post-copy destination, and gcctl is its
// source. Its page requests are the ordered first touches.
#pragma once

#include "capture/guide_memory.h"
#include "capture/record_source.h"
#include "image/source_image.h"
#include "stream/package.h"
#include "stream/return_path.h"
#include "util/mailbox.h"

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace gc::capture {

/// The migration, as its guide's memory depends on it. Blocks are numbered as in
/// stream::GuideState. Called by the server's thread.
class PageOrigin {
  public:
    virtual ~PageOrigin() = default;

    /// Whether the destination has the page, or will without the guide.
    [[nodiscard]] virtual bool delivered(std::size_t block, std::uint64_t page) const = 0;

    /// The guide requested a page that is delivered.
    virtual void touched(std::size_t block, std::uint64_t page) = 0;

    enum class Found { data, zero, later };
    /// Finds a page that the image does not have. With `later` it was requested from the source
    /// QEMU: ask again after FaultServer::wake().
    virtual Result<Found> find(std::size_t block, std::uint64_t page,
                               std::span<std::byte> into) = 0;
};

/// Answers the guide's page requests from the image. A request for a page that the destination does
/// not have yet becomes a record, and is answered once that is queued. So the room for records
/// limits how far the guide runs ahead, as the module's ring does.
class FaultServer {
  public:
    /// @param image the VM's RAM; it must be frozen when the server starts
    /// @param max_unread records of each block that may be unread
    static Result<std::unique_ptr<FaultServer>> create(image::SourceImage image,
                                                       std::uint32_t max_unread);
    ~FaultServer() { stop(); }
    FaultServer(const FaultServer&) = delete;
    FaultServer& operator=(const FaultServer&) = delete;

    /// One for each block of the image. Valid as long as this object.
    [[nodiscard]] std::vector<BlockRecords> feeds();

    /// Sends the guide its state, and answers its requests in a thread of its own. Call it once.
    /// @param socket the other end of the guide's migration socket; kept open until stop()
    /// @param failed signalled when the server has ended by itself, see error()
    /// @param place if known, the guide's faults are also answered without its QEMU
    void start(UniqueFd socket, stream::GuideState state, PageOrigin& origin, const Waker& failed,
               std::optional<GuidePlace> place = {});
    /// A page has arrived, or was delivered. From any thread.
    void wake() const { waker_.signal(); }
    /// The destination requested this page and has been sent it: there the VM is ahead of its
    /// guide, which gets the page without a request and so catches up. Best effort. From any
    /// thread.
    void offer(std::size_t block, std::uint64_t page);
    /// Kill the guide first: a QEMU whose source closes the connection waits for another one.
    void stop();

    /// Why it has ended by itself.
    [[nodiscard]] std::optional<Error> error() const;

  private:
    using Clock = std::chrono::steady_clock;

    /// The records of one block.
    class Feed final : public RecordSource {
      public:
        Feed(std::uint64_t pages, std::uint32_t max_unread, Waker readable, const Waker& room)
            : pages_(pages), max_unread_(max_unread), readable_(std::move(readable)), room_(room) {}

        [[nodiscard]] int fd() const override { return readable_.fd(); }
        Result<std::size_t> read(std::span<Record> into) override;
        Result<Stats> stats() override;

        // For the server's thread.
        /// @return false if there is no room: room_ is signalled when there is
        bool push(std::uint64_t page, Clock::time_point now);
        void add_blocked(Clock::duration time);
        /// Makes fd() readable if records are waiting.
        void notify() const;

      private:
        const std::uint64_t pages_;
        const std::size_t max_unread_;
        const Waker readable_;
        const Waker& room_;
        mutable std::mutex mutex_;
        std::deque<Record> unread_;
        bool full_ = false;  ///< somebody waits for room
        Stats stats_;
    };

    /// A RAM block of the guide.
    struct Block {
        std::string name;
        std::uint64_t pages;
        std::size_t image;      ///< index in the image, or SourceImage::none
        std::uint64_t address;  ///< in the guide; 0 if unknown
        std::vector<bool> answered;
    };
    struct Parked {
        std::size_t block;
        std::uint64_t page;
        Clock::time_point since;
        bool lead;  ///< it waits for room, not for the page
    };
    enum class Answer { given, no_room, no_page };

    FaultServer(image::SourceImage image, Waker waker)
        : image_(std::move(image)), waker_(std::move(waker)) {}

    Result<void> run();
    Result<void> send_state();
    /// Waits for requests, wake(), or the time to notify the readers of records.
    struct Ready {
        bool requests;
        bool woken;
        bool faults;
    };
    Ready wait();
    /// Tries once to take the guide's userfaultfd.
    void take_memory();
    Result<void> read_faults();
    Result<void> read_requests();
    Result<void> handle(const stream::PageRequest& request);
    Result<void> handle(std::size_t block, std::uint64_t page);
    Result<void> retry_parked();
    Result<void> give_offered();
    Result<Answer> try_answer(std::size_t block, std::uint64_t page);
    /// Answers pages after this one that the destination has: a guide that reads on need not
    /// request them one by one.
    Result<void> answer_neighbours(std::size_t block, std::uint64_t page);
    Result<void> append_image_pages(std::size_t block, std::uint64_t first, std::size_t count);
    Result<void> give_page(std::size_t block, std::uint64_t page,
                           const image::PageContent& content);
    Result<void> flush();
    void notify_feeds();

    image::SourceImage image_;
    const Waker waker_;
    std::vector<std::unique_ptr<Feed>> feeds_;  ///< of each block of the image

    // Of the thread, once it runs.
    UniqueFd socket_;
    stream::GuideState state_;
    PageOrigin* origin_ = nullptr;
    const Waker* failed_ = nullptr;
    std::vector<Block> blocks_;
    std::optional<GuidePlace> place_;
    std::optional<GuideMemory> memory_;  ///< taken once the guide has requested a page
    Clock::time_point left_to_qemu_{};   ///< until then QEMU reads the faults
    stream::ReturnPathReader reader_;
    std::vector<std::byte> received_;
    std::size_t last_block_ = 0;
    std::deque<Parked> parked_;
    stream::Buffer answers_;         ///< a section that is not ended yet, or empty
    std::vector<std::byte> room_;    ///< for pages that are not mapped
    std::size_t pushed_ = 0;         ///< records that their readers have not been told of
    Clock::time_point pushed_at_{};  ///< the first of them

    struct Offer {
        std::size_t block;
        std::uint64_t page;
    };
    std::mutex offers_mutex_;
    std::vector<Offer> offers_;

    std::thread thread_;
    std::atomic<bool> stopping_ = false;
    mutable std::mutex error_mutex_;
    std::optional<Error> error_;
};

}  // namespace gc::capture
