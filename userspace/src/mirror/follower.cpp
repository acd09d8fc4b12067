// SPDX-License-Identifier: GPL-2.0-or-later
#include "mirror/follower.h"

#include <algorithm>
#include <utility>

namespace gc::mirror {

using namespace std::chrono_literals;

// ---- the table

Follower::Connection& Follower::connection(const Flow& flow, Clock::time_point now) {
    const auto found = table_.find(flow);
    if (found != table_.end()) {
        used_.splice(used_.end(), used_, found->second.used);
        return found->second;
    }
    if (table_.size() >= limits_.connections) {
        const auto oldest = table_.find(used_.front());
        drop_kept(oldest->second);
        table_.erase(oldest);
        used_.pop_front();
    }
    Connection& made = table_[flow];
    made.used = used_.insert(used_.end(), flow);
    made.waits_since = now;
    return made;
}

/// The first that the guide lacks.
Follower::Kept& Follower::first_kept(Connection& of) {
    return *std::ranges::min_element(of.kept, [](const Kept& a, const Kept& b) {
        return after(b.segment.sequence, a.segment.sequence);
    });
}

void Follower::drop_kept(Connection& of) {
    kept_ -= of.kept_bytes;
    of.kept_bytes = 0;
    of.kept.clear();
}

void Follower::drop_kept_if(Connection& of, const std::function<bool(const Segment&)>& dropped) {
    std::erase_if(of.kept, [&](const Kept& kept) {
        const bool drop = dropped(kept.segment);
        if (drop) {
            of.kept_bytes -= kept.packet.size();
            kept_ -= kept.packet.size();
        }
        return drop;
    });
}

void Follower::die(Connection& of) {
    if (of.dead)
        return;
    of.dead = true;
    drop_kept(of);
    if (std::exchange(of.in_step, false))
        --counts_.in_step;
    if (of.counted)
        ++counts_.dead;
}

/// A new connection between the same ends.
void Follower::restart(Connection& of, Clock::time_point now) {
    drop_kept(of);
    const auto used = of.used;
    of = Connection{};
    of.used = used;
    of.held = true;
    of.waits_since = now;
}

void Follower::keep(Connection& of, const Segment& segment, std::span<const std::byte> packet) {
    const bool there = std::ranges::any_of(of.kept, [&](const Kept& kept) {
        return kept.segment.sequence == segment.sequence && kept.segment.end() == segment.end();
    });
    if (there)
        return;
    of.kept.push_back({segment, {packet.begin(), packet.end()}});
    of.kept_bytes += packet.size();
    kept_ += packet.size();
    if (of.kept_bytes > limits_.kept_of_each)
        die(of);
    make_room();
}

/// Whole connections are lost, those that have most first.
void Follower::make_room() {
    while (kept_ > limits_.kept) {
        const auto most = std::ranges::max_element(
            table_, {}, [](const auto& entry) { return entry.second.kept_bytes; });
        die(most->second);
    }
}

// ---- to the guide

void Follower::show(const Connection& of, const Segment& segment, std::span<std::byte> packet) {
    if (of.known && segment.ack && segment.acknowledged != of.next)
        set_acknowledged(packet, segment, of.next);
    inject_(segment.flow.nic, packet);
}

void Follower::show_again(Connection& of, Kept& kept) {
    ++counts_.again;
    show(of, kept.segment, kept.packet);
    if (of.known)
        kept.segment.acknowledged = of.next;  // so the packet says
}

void Follower::from_client(std::uint16_t nic, std::span<std::byte> packet, Clock::time_point now) {
    if (packet.size() < virtio_header)
        return;
    const auto segment = parse(nic, packet.subspan(virtio_header), From::client);
    if (!segment) {
        ++counts_.packets;
        counts_.bytes += packet.size() - virtio_header;
        inject_(nic, packet);
        return;
    }
    Connection& of = connection(segment->flow, now);
    const bool begins = segment->syn && !segment->ack;
    const bool sent_before = !of.kept.empty() && of.kept.front().segment.syn &&
                             of.kept.front().segment.sequence == segment->sequence;
    if (begins && !sent_before)
        restart(of, now);
    // The answer to a SYN that the guide has not sent yet would reset its connection.
    if (segment->syn && segment->ack && !of.known)
        of.held = true;
    if (!std::exchange(of.counted, true))
        ++counts_.connections;
    if (of.dead) {
        ++counts_.skipped;
        return;
    }
    ++counts_.packets;
    counts_.bytes += packet.size() - virtio_header;
    of.client_done = of.client_done || segment->fin || segment->rst;
    if (of.kept.empty()) {
        of.waits_since = now;
        of.waits_for = patience;
    }
    const bool held = of.held && !of.known && !begins;
    const bool taken = of.has_taken && !after(segment->end(), of.taken);
    if (held || (segment->occupies() && !taken))
        keep(of, *segment, packet);
    if (!of.dead && !held)
        show(of, *segment, packet);
}

void Follower::left_out(std::uint16_t nic, std::span<const std::byte> headers) {
    const auto segment = parse(nic, headers, From::client);
    if (!segment)
        return;
    const auto found = table_.find(segment->flow);
    if (found != table_.end())
        die(found->second);
}

// ---- from the guide

void Follower::from_guide(std::uint16_t nic, std::span<const std::byte> frame,
                          Clock::time_point now) {
    ++counts_.answers;
    const auto segment = parse(nic, frame, From::vm);
    if (!segment)
        return;
    const auto found = table_.find(segment->flow);
    if (segment->rst) {
        // The end of a connection that its client has closed is not a loss.
        if (found != table_.end() && !found->second.client_done)
            die(found->second);
        return;
    }
    Connection& of = found != table_.end() ? found->second : connection(segment->flow, now);
    if (of.dead)
        return;
    const bool first = !std::exchange(of.known, true);
    if (first || segment->syn || after(segment->end(), of.next))
        of.next = segment->end();
    if (segment->ack)
        acknowledged(of, *segment, now);
    if (first)
        became_known(of);
}

void Follower::acknowledged(Connection& of, const Segment& segment, Clock::time_point now) {
    const std::uint32_t taken = segment.acknowledged;
    const bool more = !of.has_taken || after(taken, of.taken);
    if (!more) {
        constexpr unsigned repeats = 3;  // as TCP counts them
        const bool repeats_itself = taken == of.taken && !segment.occupies() && !of.kept.empty();
        if (repeats_itself && ++of.repeated == repeats) {
            of.repeated = 0;
            show_again(of, first_kept(of));
        }
        return;
    }
    of.has_taken = true;
    of.taken = taken;
    of.repeated = 0;
    of.waits_since = now;
    of.waits_for = patience;
    of.hole_since = Clock::time_point::max();
    const auto kept_before = of.kept.size();
    drop_kept_if(of,
                 [&](const Segment& kept) { return kept.occupies() && !after(kept.end(), taken); });
    if (of.kept.size() < kept_before && !std::exchange(of.in_step, true))
        ++counts_.in_step;
}

/// What came before may have acknowledged what the guide had not sent.
void Follower::became_known(Connection& of) {
    of.held = false;
    for (Kept& kept : of.kept) {
        show(of, kept.segment, kept.packet);
        kept.segment.acknowledged = of.next;
    }
    // An acknowledgement was held only for the guide to see it once.
    drop_kept_if(of, [](const Segment& kept) { return !kept.occupies(); });
}

// ---- time

void Follower::check(Connection& of, Clock::time_point now) {
    if (of.dead || of.kept.empty())
        return;
    const bool hole = of.has_taken && std::ranges::all_of(of.kept, [&](const Kept& kept) {
                          return after(kept.segment.sequence, of.taken);
                      });
    of.hole_since = !hole ? Clock::time_point::max() : std::min(of.hole_since, now);
    if (hole && now - of.hole_since >= hole_lasts)
        return die(of);
    if (now - of.waits_since < of.waits_for)
        return;
    of.waits_since = now;
    of.waits_for = std::min(2 * of.waits_for, max_patience);
    show_again(of, first_kept(of));
}

void Follower::tick(Clock::time_point now) {
    for (auto& [flow, of] : table_)
        check(of, now);
}

}  // namespace gc::mirror
