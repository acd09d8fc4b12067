// SPDX-License-Identifier: GPL-2.0-or-later
// The guide: a copy of the VM that runs at the source, isolated from the outside, to find out which
// pages the VM will touch.
#pragma once

#include "capture/fault_server.h"
#include "capture/record_source.h"
#include "capture/session.h"
#include "guide/capture_choice.h"
#include "guide/process.h"
#include "guide/quarantine.h"
#include "guide/userfault.h"
#include "image/source_image.h"
#include "qmp/client.h"
#include "report/report.h"
#include "util/mailbox.h"

#include <atomic>
#include <chrono>
#include <map>
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
    /// Errors: unsupported (a device that cannot be made harmless, the module is missing, the guide
    /// may not use userfaultfd), io.
    static Result<std::unique_ptr<Guide>> prepare(qmp::Client& source_qmp, pid_t source,
                                                  std::vector<image::ImageBlock> memory,
                                                  GuideLimits limits, const ChosenCapture& capture);
    ~Guide();
    Guide(const Guide&) = delete;
    Guide& operator=(const Guide&) = delete;

    [[nodiscard]] pid_t pid() const { return process_.pid(); }
    /// Why only the network namespace drops its packets, and no eBPF program; empty if one does.
    [[nodiscard]] const std::string& without_sink() const { return quarantine_->without_sink(); }

    /// A NIC of the guide that is on a tap of its quarantine.
    struct Nic {
        std::string mac;     ///< as QEMU writes it
        std::string device;  ///< the tap, in network_namespace()
    };
    [[nodiscard]] const std::vector<Nic>& nics() const { return nics_; }
    /// For setns(2).
    [[nodiscard]] int network_namespace() const { return quarantine_->network_namespace(); }

    /// The records of the pages that it touches. Valid as long as this object.
    [[nodiscard]] std::vector<capture::BlockRecords> feeds();

    /// Loads the device state and runs the guide, in a thread of its own. Does not wait.
    /// @param origin with userfault, used until stop()
    void load(stream::GuideState state, capture::PageOrigin& origin);
    /// With userfault, what answers its page requests; else null.
    [[nodiscard]] capture::FaultServer* server() const { return server_.get(); }

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

    Result<void> capture_by_module(const std::vector<image::ImageBlock>& memory);
    Result<void> capture_by_userfault(std::vector<image::ImageBlock> memory);
    /// The most records of each of that many blocks that may be unread.
    [[nodiscard]] std::uint32_t entries_of_each(std::size_t blocks) const;
    /// The guide's memory, as its command line names it.
    void name_memory(GuideSubstitutes& substitutes, SpawnOptions& options) const;
    Result<qmp::Client> meet(UniqueFd monitor);
    void find_memory();
    void find_nics(const std::vector<TapRequest>& taps);
    Result<void> start_process(qmp::Client& source_qmp, pid_t source);
    void work(stream::GuideState& state, capture::PageOrigin& origin);
    Result<void> load_and_run(stream::GuideState& state, capture::PageOrigin& origin);
    Result<void> await_running();
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
    std::vector<Captured> captured_;                   ///< with the module
    std::unique_ptr<capture::FaultServer> server_;     ///< with userfault
    std::map<std::string, std::uint64_t> own_memory_;  ///< likewise: size of each memory backend
    std::optional<Userfault> userfault_;
    std::optional<capture::GuidePlace> place_;
    Waker news_;
    std::optional<guide::Quarantine> quarantine_;
    std::vector<Nic> nics_;
    std::vector<std::string> absent_;  ///< see GuideCommandLine
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
