// SPDX-License-Identifier: GPL-2.0-or-later
#include "migrate/forwarding.h"

#include "forward/forwarder.h"
#include "migrate/progress.h"
#include "migrate/source_qemu.h"
#include "mirror/taps.h"
#include "peer/channels.h"

#include <algorithm>
#include <fmt/core.h>

namespace gc::migrate {

namespace {

/// The taps whose packets can be forwarded, and why not those of the other NICs.
mirror::Taps choose_taps(bool wanted, SourceQemu& source, const peer::Ready& offer) {
    if (!wanted)
        return {{}, "--forward off"};
    if (!source.was_running())
        return {{}, "the VM is paused"};
    if (offer.version < peer::forward_version || !offer.mirror)
        return {{}, "the destination's gcctl is older and delivers none"};
    const peer::MirrorOffer& there = *offer.mirror;
    if (there.nics.empty())
        return {{}, there.reason};
    mirror::Taps taps = mirror::find_taps(source.qmp(), source.pid());
    std::erase_if(taps.found, [&](const mirror::Tap& tap) {
        if (std::ranges::find(there.nics, tap.mac) != there.nics.end())
            return false;
        taps.reason += fmt::format("{}the destination has no tap for the NIC {}{}",
                                   taps.reason.empty() ? "" : "; ", tap.mac,
                                   there.reason.empty() ? "" : fmt::format(" ({})", there.reason));
        return true;
    });
    return taps;
}

}  // namespace

Forwarding::Forwarding(Progress& progress, report::ForwardReport& report)
    : progress_(progress), report_(report) {}

Forwarding::~Forwarding() = default;

void Forwarding::prepare(bool wanted, SourceQemu& source, const peer::Ready& offer,
                         peer::Channels& channels, std::uint32_t mark) {
    mirror::Taps taps = choose_taps(wanted, source, offer);
    report_.reason = std::move(taps.reason);
    if (!taps.found.empty()) {
        auto made = forward::Forwarder::create(std::move(taps.found),
                                               channels[peer::ChannelId::forward], mark);
        if (made)
            forwarder_ = *std::move(made);
        else
            report_.reason = made.error().message;
    }
    report_.nics = forwarder_ ? forwarder_->nics() : 0;
    progress_.detail(
        "forward", {{"nics", report_.nics}, {"reason", report_.reason}},
        forwarder_
            ? fmt::format("what arrives for {} NICs while the VM stands still will be sent after "
                          "it",
                          report_.nics)
            : fmt::format("what arrives while the VM stands still is lost: {}", report_.reason));
}

void Forwarding::listen() {
    if (!forwarder_)
        return;
    if (auto listens = forwarder_->listen(); !listens) {
        report_.reason = listens.error().message;
        forwarder_.reset();
    }
}

void Forwarding::start(bool was_running, std::chrono::system_clock::time_point stopped) {
    if (!forwarder_)
        return;
    if (!was_running || !forwarder_->listens()) {
        report_.reason = was_running ? "QEMU stopped the VM by itself, at the end of its pre-copy"
                                     : "the VM is paused";
        forwarder_.reset();
        return;
    }
    forwarder_->start(stopped);
    report_.on = true;
}

void Forwarding::resumed() {
    if (forwarder_)
        forwarder_->resumed();
}

void Forwarding::check() {
    if (forwarder_ && forwarder_->done())
        end();
}

void Forwarding::end() {
    if (!forwarder_)
        return;
    forwarder_->stop();
    if (const auto error = forwarder_->error())
        report_.reason = error->message;
    if (report_.on) {
        const forward::ForwarderCounts counts = forwarder_->counts();
        report_.packets = counts.packets;
        report_.bytes = counts.bytes;
        report_.dropped = counts.dropped;
        progress_.detail(
            "forwarded",
            {{"packets", counts.packets}, {"bytes", counts.bytes}, {"dropped", counts.dropped}},
            fmt::format("{} packets that arrived for the VM were sent after it, {} were dropped",
                        counts.packets, counts.dropped));
    }
    forwarder_.reset();
}

}  // namespace gc::migrate
