// SPDX-License-Identifier: GPL-2.0-or-later
// The guide of one migration from its start to its end, with what it is shown and its part of the
// report.
#pragma once

#include "capture/record_source.h"
#include "mirror/injector.h"
#include "peer/message.h"
#include "report/report.h"
#include "stream/package.h"
#include "util/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::guide {
class Guide;
}  // namespace gc::guide
namespace gc::transfer {
class DataPlane;
}  // namespace gc::transfer

namespace gc::migrate {

struct MirrorCounts;
struct Options;
class Progress;
class SourceQemu;

/// The guide, if there is one: without one, every call but prepare() does nothing. A migration does
/// not fail for want of a guide.
class GuideRun {
  public:
    /// @param report gets what is said of the guide: its capture and mode as well
    GuideRun(const Options& options, Progress& progress, report::Report& report);
    ~GuideRun();
    GuideRun(const GuideRun&) = delete;
    GuideRun& operator=(const GuideRun&) = delete;

    /// Starts the guide, if the user wants one and the VM runs.
    void prepare(SourceQemu& source);
    /// Finds out whether the guide can be shown what arrives for the VM.
    /// @param offer the destination's; nullptr from one that has none
    /// Errors: unsupported, with --mirror on, if not.
    Result<void> prepare_mirror(const peer::MirrorOffer* offer);

    [[nodiscard]] bool exists() const { return guide_ != nullptr; }
    /// Whether it wants the channel of mirror.
    [[nodiscard]] bool mirrors() const { return !ports_.empty(); }
    /// Whether its page requests are answered by gcctl.
    [[nodiscard]] bool answers_requests() const;
    /// See guide::Guide::feeds().
    [[nodiscard]] std::vector<capture::BlockRecords> feeds();

    /// What sends the pages that it touches; valid until this object has ended.
    void connect(transfer::DataPlane& data) { data_ = &data; }
    /// Errors: those of mirror::Injector::start(), with --mirror on.
    Result<void> start_mirror(peer::Channel& channel);
    /// Loads the device state and runs it. After connect().
    void load(stream::GuideState state);

    /// Readable when check() may have something to do; -1 without a guide.
    [[nodiscard]] int fd() const;
    /// Takes its news: it runs, or has ended by itself.
    void check();
    void end(report::GuideEnd how, std::string_view reason);

    /// What it was shown until now; nullopt if it is shown nothing.
    [[nodiscard]] std::optional<MirrorCounts> mirrored() const;

  private:
    Result<std::unique_ptr<guide::Guide>> start(SourceQemu& source);
    /// @return why it is not shown the packets of all NICs; else empty
    std::string choose_ports(const peer::MirrorOffer* offer);
    void end_mirror();

    const Options& options_;
    Progress& progress_;
    report::Report& report_;
    transfer::DataPlane* data_ = nullptr;
    std::unique_ptr<guide::Guide> guide_;
    std::vector<mirror::Injector::Port> ports_;
    std::unique_ptr<mirror::Injector> mirror_;
};

}  // namespace gc::migrate
