// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/guide_run.h"

#include "guide/guide.h"
#include "migrate/options.h"
#include "migrate/progress.h"
#include "migrate/source_qemu.h"
#include "transfer/data_plane.h"
#include "util/milliseconds.h"

#include <algorithm>
#include <fmt/core.h>

namespace gc::migrate {
namespace {

std::uint64_t dropped(const mirror::InjectorCounts& counts) {
    return counts.left_out + counts.lost + counts.refused + counts.follower.skipped;
}

}  // namespace

GuideRun::GuideRun(const Options& options, Progress& progress, report::Report& report)
    : options_(options), progress_(progress), report_(report) {}

GuideRun::~GuideRun() = default;

// ---- before anything is touched

Result<std::unique_ptr<guide::Guide>> GuideRun::start(SourceQemu& source) {
    GC_TRY(guide::ChosenCapture chosen, guide::choose_capture(options_.capture));
    GC_TRY(std::vector<image::ImageBlock> memory, source.open_image());
    GC_TRY(auto guide,
           guide::Guide::prepare(source.qmp(), source.pid(), std::move(memory),
                                 {.lead = options_.lead, .memory = options_.guide_memory}, chosen));
    report_.capture = chosen.how;
    report_.capture_reason = std::move(chosen.reason);
    return guide;
}

void GuideRun::prepare(SourceQemu& source) {
    // A paused VM touches nothing, so its guide would not either.
    if (!options_.guide || !source.was_running())
        return;
    auto guide = start(source);
    if (!guide) {
        report_.guide.ended = report::GuideEnd::refused;
        report_.guide.reason = guide.error().message;
        progress_.event("guide-refused", {{"reason", guide.error().message}});
        progress_.warning(
            fmt::format("no guide: {}; migrating without one", guide.error().message));
        return;
    }
    guide_ = std::move(*guide);
    progress_.detail("guide-started",
                     {{"pid", guide_->pid()},
                      {"capture", name(report_.capture)},
                      {"why", report_.capture_reason}},
                     fmt::format("the guide is process {}, captured by {} ({})", guide_->pid(),
                                 name(report_.capture), report_.capture_reason));
    if (!guide_->without_sink().empty())
        progress_.warning(fmt::format("the guide's packets are dropped by its network namespace "
                                      "only, and not counted by protocol: {}",
                                      guide_->without_sink()));
}

std::string GuideRun::choose_ports(const peer::MirrorOffer* offer) {
    if (options_.mirror == Mirror::off)
        return "--mirror off";
    if (!guide_)
        return "there is no guide";
    if (offer == nullptr)
        return "the destination's gcctl is older and has none";
    std::string reason = offer->reason;
    for (std::size_t i = 0; i < offer->nics.size(); ++i) {
        const std::string& mac = offer->nics[i];
        const auto nic = std::ranges::find(guide_->nics(), mac, &guide::Guide::Nic::mac);
        if (nic != guide_->nics().end())
            ports_.push_back({static_cast<std::uint16_t>(i), nic->device});
        else
            reason += fmt::format("{}the guide has no tap for the NIC {}",
                                  reason.empty() ? "" : "; ", mac);
    }
    return reason;
}

Result<void> GuideRun::prepare_mirror(const peer::MirrorOffer* offer) {
    report::MirrorReport& report = report_.guide.mirror;
    report.reason = choose_ports(offer);
    if (options_.mirror == Mirror::on && !report.reason.empty())
        return fail(ErrorKind::unsupported,
                    "the guide cannot be shown what arrives for the VM: {}; to migrate without, "
                    "leave out --mirror on",
                    report.reason);
    progress_.detail(
        "mirror", {{"nics", ports_.size()}, {"reason", report.reason}},
        ports_.empty() ? fmt::format("the guide sees no packets: {}", report.reason)
                       : fmt::format("the guide will see what arrives for {} NICs", ports_.size()));
    return {};
}

// ---- while it runs

bool GuideRun::answers_requests() const {
    return guide_ && guide_->server() != nullptr;
}

std::vector<capture::BlockRecords> GuideRun::feeds() {
    return guide_ ? guide_->feeds() : std::vector<capture::BlockRecords>{};
}

Result<void> GuideRun::start_mirror(peer::Channel& channel) {
    if (ports_.empty() || !guide_)
        return {};
    auto started = mirror::Injector::start(channel, guide_->network_namespace(), ports_);
    if (!started)
        channel.end_reading();
    if (!started && options_.mirror == Mirror::on)
        return Unexpected(started.error());
    report::MirrorReport& report = report_.guide.mirror;
    if (!started) {
        report.reason = started.error().message;
        progress_.warning(fmt::format("the guide is not shown what arrives for the VM: {}",
                                      started.error().message));
        return {};
    }
    mirror_ = *std::move(started);
    report.on = true;
    report.nics = ports_.size();
    return {};
}

void GuideRun::load(stream::GuideState state) {
    if (!guide_)
        return;
    data_->guide_origin().serve(guide_->server());
    guide_->load(std::move(state), data_->guide_origin());
}

int GuideRun::fd() const {
    return guide_ ? guide_->fd() : -1;
}

void GuideRun::check() {
    if (!guide_)
        return;
    if (const auto loaded = guide_->take_loaded()) {
        data_->release_state();
        report_.guide.started = true;
        report_.guide.load_ms = in_ms(*loaded);
        report_.mode = report::Mode::guide;
        progress_.detail("guide-runs", {{"load_ms", report_.guide.load_ms}},
                         fmt::format("the guide runs, loaded in {:.1f} ms", report_.guide.load_ms));
    }
    if (const auto ended = guide_->check())
        end(ended->how, ended->reason);
    else if (const auto apart = data_->divergence())
        end(report::GuideEnd::diverged,
            fmt::format("it diverged from the VM: of {} pages that the VM requested it touched "
                        "{}, and it pushed {} others",
                        apart->requests, apart->matched, apart->pushed));
}

std::optional<MirrorCounts> GuideRun::mirrored() const {
    if (!mirror_)
        return std::nullopt;
    const mirror::InjectorCounts now = mirror_->counts();
    return MirrorCounts{now.follower.packets, dropped(now), now.follower.in_step,
                        now.follower.dead};
}

// ---- the end

void GuideRun::end_mirror() {
    if (!mirror_)
        return;
    mirror_->stop();
    if (const auto error = mirror_->error())
        progress_.warning(fmt::format("the guide was no longer shown what arrives for the VM: {}",
                                      error->message));
    const mirror::InjectorCounts counts = mirror_->counts();
    report::MirrorReport& report = report_.guide.mirror;
    report.packets = counts.follower.packets;
    report.bytes = counts.follower.bytes;
    report.again = counts.follower.again;
    report.dropped = dropped(counts);
    report.connections = counts.follower.connections;
    report.in_step = counts.follower.in_step;
    report.dead = counts.follower.dead;
    mirror_.reset();
}

void GuideRun::end(report::GuideEnd how, std::string_view reason) {
    if (!guide_)
        return;
    if (data_ != nullptr) {
        data_->drop_guide();
        data_->release_state();
    }
    end_mirror();
    const guide::GuideTotals totals = guide_->stop();
    if (data_ != nullptr)
        data_->guide_origin().serve(nullptr);
    report::GuideReport& report = report_.guide;
    report.ended = how;
    report.reason = reason;
    report.records = totals.records;
    report.dropped = totals.dropped;
    report.blocked_ms = in_ms(totals.blocked);
    report.memory_bytes = totals.memory;
    report.sent = {.packets = totals.sent.packets,
                   .bytes = totals.sent.bytes,
                   .arp = totals.sent.arp,
                   .ipv4 = totals.sent.ipv4,
                   .ipv6 = totals.sent.ipv6,
                   .other = totals.sent.other,
                   .dropped_by = guide_->without_sink().empty() ? report::DroppedBy::ebpf
                                                                : report::DroppedBy::netns};
    guide_.reset();
    const std::string_view ended = name(how);
    progress_.detail(
        "guide-ended", {{"how", ended}, {"reason", reason}},
        fmt::format("the guide ended: {}{}{}", ended, reason.empty() ? "" : ": ", reason));
    using enum report::GuideEnd;
    if (how == died || how == diverged || how == memory_limit)
        progress_.warning(
            fmt::format("the guide ended ({}): {}; continuing without it", ended, reason));
}

}  // namespace gc::migrate
