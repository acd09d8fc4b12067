// SPDX-License-Identifier: GPL-2.0-or-later
// The guide: a second copy of the VM that runs at the source, without any effect, to show which
// pages the real one will touch.
#pragma once

#include "capture/record_source.h"
#include "capture/session.h"
#include "guide/process.h"
#include "guide/quarantine.h"
#include "image/source_image.h"
#include "qmp/client.h"
#include "report/report.h"
#include "util/mailbox.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gc::guide {

/// What a guide is allowed.
struct GuideLimits {
    std::uint32_t lead;        ///< pages touched and not yet sent, at most, over all RAM blocks
    std::uint64_t memory = 0;  ///< bytes that it may cost; 0: no limit
};

/// How a guide ended by itself.
struct GuideEnd {
    report::GuideEnd how;  ///< died, diverged or memory_limit
    std::string reason;    ///< one sentence
};

/// Sums over all of the guide's memory.
struct GuideTotals {
    std::uint64_t records = 0;
    std::uint64_t dropped = 0;
    std::chrono::nanoseconds blocked{0};
    std::uint64_t memory = 0;  ///< bytes, at most: copies of the VM's pages, and the process's own
    guide::Sent sent;          ///< into its quarantine
};

class Guide {
  public:
    /// Starts a guide of the VM in a source QEMU and waits until it is ready to load. The VM is not
    /// touched.
    /// @param memory the VM's RAM, by RAM block
    /// Errors: unsupported (a device that cannot be made harmless, the module is missing), io.
    static Result<std::unique_ptr<Guide>> prepare(qmp::Client& source_qmp, pid_t source,
                                                  const std::vector<image::ImageBlock>& memory,
                                                  GuideLimits limits);
    ~Guide();
    Guide(const Guide&) = delete;
    Guide& operator=(const Guide&) = delete;

    [[nodiscard]] pid_t pid() const { return process_.pid(); }
    /// Why what it sends is dropped by its network namespace alone, and by no program; or empty.
    [[nodiscard]] const std::string& without_sink() const { return quarantine_->without_sink(); }

    /// Where the pages it touches can be read. Valid as long as this object is.
    [[nodiscard]] std::vector<capture::BlockRecords> feeds();

    /// Loads the device state and lets the guide run, in a thread of its own: nothing else waits
    /// for it that does not want to.
    void load(std::vector<std::byte> stream);

    /// Readable when check() or take_loaded() may have news.
    [[nodiscard]] int fd() const { return news_.fd(); }
    /// How long loading took, once, when the guide has begun to run.
    std::optional<std::chrono::nanoseconds> take_loaded();
    /// Whether the guide has ended by itself.
    std::optional<GuideEnd> check();

    /// Kills it. @return what was captured
    GuideTotals stop();

  private:
    Guide(Waker news, GuideLimits limits) : limits_(limits), news_(std::move(news)) {}

    Result<void> capture_memory(const std::vector<image::ImageBlock>& memory, pid_t source);
    Result<void> start_process(qmp::Client& source_qmp, pid_t source);
    void work(std::span<const std::byte> stream);
    Result<void> load_and_run(std::span<const std::byte> stream);
    Result<void> forget_copies();
    GuideEnd watch();
    std::uint64_t measure_memory();

    struct Captured {
        std::string block;
        std::string backend;
        std::uint64_t length;
        bool copied;  ///< page by page, as it is touched
        capture::Session session;
    };
    GuideLimits limits_;
    std::vector<Captured> captured_;
    Waker news_;
    std::optional<guide::Quarantine> quarantine_;
    guide::Process process_;
    std::optional<qmp::Client> qmp_;  ///< the worker's, once that runs
    UniqueFd incoming_;               ///< our end of the guide's migration socket
    std::thread worker_;
    std::atomic<bool> stopping_ = false;
    std::uint64_t most_memory_ = 0;  ///< bytes; the worker's until it is joined
    std::mutex mutex_;               ///< for what follows
    std::optional<std::chrono::nanoseconds> loaded_;
    std::optional<GuideEnd> end_;
};

}  // namespace gc::guide
