// SPDX-License-Identifier: GPL-2.0-or-later
// The guide: a copy of the VM that runs at the source, isolated from the outside, to find out which
// pages the VM will touch.
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

/// The limits of a guide.
struct GuideLimits {
    std::uint32_t lead;        ///< max. pages touched and not yet sent, over all RAM blocks
    std::uint64_t memory = 0;  ///< max. bytes that it takes; 0 means no limit
};

/// Why a guide ended by itself.
struct GuideEnd {
    report::GuideEnd how;  ///< died, diverged or memory_limit
    std::string reason;    ///< one sentence
};

/// Totals over all of the guide's memory.
struct GuideTotals {
    std::uint64_t records = 0;
    std::uint64_t dropped = 0;
    std::chrono::nanoseconds blocked{0};
    std::uint64_t memory = 0;  ///< peak in bytes: copies of the VM's pages, and the process's own
    guide::Sent sent;          ///< into its quarantine
};

class Guide {
  public:
    /// Starts a guide of the source QEMU's VM and waits until it is ready to load. Does not touch
    /// the VM.
    /// @param memory the VM's RAM, by RAM block
    /// Errors: unsupported (a device that cannot be made harmless, the module is missing), io.
    static Result<std::unique_ptr<Guide>> prepare(qmp::Client& source_qmp, pid_t source,
                                                  const std::vector<image::ImageBlock>& memory,
                                                  GuideLimits limits);
    ~Guide();
    Guide(const Guide&) = delete;
    Guide& operator=(const Guide&) = delete;

    [[nodiscard]] pid_t pid() const { return process_.pid(); }
    /// Why only the network namespace drops its packets, and no eBPF program; empty if one does.
    [[nodiscard]] const std::string& without_sink() const { return quarantine_->without_sink(); }

    /// The records of the pages that it touches. Valid as long as this object.
    [[nodiscard]] std::vector<capture::BlockRecords> feeds();

    /// Loads the device state and runs the guide, in a thread of its own. Does not wait.
    void load(std::vector<std::byte> stream);

    /// Readable when check() or take_loaded() may have news.
    [[nodiscard]] int fd() const { return news_.fd(); }
    /// How long loading took; returned once, when the guide has started to run.
    std::optional<std::chrono::nanoseconds> take_loaded();
    /// Whether the guide has ended by itself, and why.
    std::optional<GuideEnd> check();

    /// Kills the guide. @return its totals
    GuideTotals stop();

  private:
    Guide(Waker news, GuideLimits limits) : limits_(limits), news_(std::move(news)) {}

    Result<void> capture_memory(const std::vector<image::ImageBlock>& memory);
    Result<void> start_process(qmp::Client& source_qmp, pid_t source);
    void work(std::span<const std::byte> stream);
    Result<void> load_and_run(std::span<const std::byte> stream);
    Result<void> forget_copies();
    GuideEnd watch();
    /// How the process ended, or else the reason; with what it wrote to its standard error.
    std::string with_last_words(const std::string& reason);
    std::uint64_t measure_memory();

    struct Captured {
        std::string block;
        std::string backend;
        std::uint64_t length;
        bool copied;  ///< each page is copied when it is touched
        capture::Session session;
    };
    GuideLimits limits_;
    std::vector<Captured> captured_;
    Waker news_;
    std::optional<guide::Quarantine> quarantine_;
    guide::Process process_;
    std::optional<qmp::Client> qmp_;  ///< used by the worker only, once it runs
    UniqueFd incoming_;               ///< gcctl's end of the guide's migration socket
    std::thread worker_;
    std::atomic<bool> stopping_ = false;
    std::uint64_t max_memory_ = 0;  ///< peak in bytes; used by the worker until it is joined
    std::mutex mutex_;              ///< protects what follows
    std::optional<std::chrono::nanoseconds> loaded_;
    std::optional<GuideEnd> end_;
};

}  // namespace gc::guide
