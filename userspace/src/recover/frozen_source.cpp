// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/frozen_source.h"

#include "migrate/guest_memory.h"
#include "migrate/release.h"
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"
#include "recover/qemu_timeouts.h"
#include "stream/reader.h"
#include "stream/return_path.h"
#include "util/page.h"
#include "util/poll.h"

#include <algorithm>
#include <array>
#include <thread>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;

constexpr auto fetch_timeout = 60s;
constexpr auto end_timeout = 30s;
/// A source QEMU that came to the end of its memory would wait for the destination's word, and
/// could not be recovered again when the socket is closed.
const qmp::NumberParameters slow_parameters{{"max-postcopy-bandwidth", qmp::only_requested}};
constexpr auto kill_timeout = 60s;

/// Requests for runs of pages: a run is what the set has in a row.
stream::Buffer requests_for(const std::set<FrozenSource::PageId>& wanted) {
    stream::Buffer requests;
    for (auto at = wanted.begin(); at != wanted.end();) {
        const auto& [block, first] = *at;
        std::uint64_t count = 0;
        constexpr std::uint64_t max_run = 1U << 16;
        for (; at != wanted.end() && at->first == block && at->second == first + count &&
               count < max_run;
             ++at)
            ++count;
        stream::append_page_request(requests, block, first * page_size,
                                    static_cast<std::uint32_t>(count * page_size));
    }
    return requests;
}

bool is_zero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

Result<FrozenSource> FrozenSource::open(const std::string& qmp_path) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect(qmp_path, qmp_timeout));
    GC_TRY(const pid_t pid, qmp.peer_pid());
    GC_TRY(const state::Process process, state::Process::of(pid));
    FrozenSource source(std::move(qmp), process);
    GC_CHECK(source.look());
    return source;
}

Result<void> FrozenSource::look() {
    GC_TRY(uuid_, qmp::query_uuid(qmp_));
    GC_CHECK(await_paused());
    GC_TRY(const auto lines, qmp::ram_block_lines(qmp_));
    for (const qmp::RamBlockLine& line : lines)
        if (!line.name.empty())  // it is no part of the migration
            blocks_.push_back({line.name, line.used_length / page_size, 1});
    GC_TRY(const auto guest_ram, migrate::guest_ram(qmp_, process_.pid));
    GC_TRY(auto blocks, migrate::open_image(guest_ram, process_.pid));
    GC_TRY(image_, image::SourceImage::open(std::move(blocks)));
    return {};
}

/// The VM must not run here, now or ever again: its memory would change.
Result<void> FrozenSource::await_paused() {
    for (const Deadline deadline(pause_timeout);;) {
        GC_TRY(const qmp::RunState state, qmp::query_status(qmp_));
        GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp_));
        ended_ = (migration.completed() && state.status == "postmigrate") ||
                 (migration.status == "failed" && !state.running);
        if (ended_ || (migration.status == "postcopy-paused" && !state.running))
            return {};
        if (!migration.status.starts_with("postcopy-") || deadline.expired())
            return fail(ErrorKind::unsupported,
                        "expected a source QEMU whose post-copy migration broke "
                        "('postcopy-paused'), this one's is '{}' and its VM '{}'; see "
                        "'gcctl status'",
                        migration.status, state.status);
        std::this_thread::sleep_for(10ms);
    }
}

bool FrozenSource::is_guest_ram(const std::string& block) const {
    return image_->find(block) != image::SourceImage::none;
}

// ---- pages that are no guest RAM

Result<void> FrozenSource::fetch(const std::set<PageId>& wanted_pages) {
    std::set<PageId> wanted;
    for (const PageId& page : wanted_pages)
        if (!fetched_.contains(page))
            wanted.insert(page);
    if (wanted.empty() && section_)
        return {};
    if (ended_)
        return fail(ErrorKind::unsupported,
                    "the source QEMU has ended its migration, but the destination QEMU lacks "
                    "pages that only the source QEMU could send");
    if (wanted.empty())  // any page tells the section's id
        wanted.insert({std::ranges::find_if(blocks_, &Block::pages)->name, 0});
    GC_CHECK(await_paused());
    GC_CHECK(qmp::set_parameters(qmp_, slow_parameters));
    GC_TRY(const UniqueFd fd, qmp::migrate_to_socket(qmp_, true));
    stream::Reader reader(stream::Start::entry);
    ReadBuffer buffer;
    std::size_t left = wanted.size();
    for (const Deadline deadline(fetch_timeout); left > 0;) {
        std::span<const std::byte> input = buffer.bytes();
        GC_TRY(const auto item, reader.next(input));
        if (!item) {
            buffer.keep(input.size());
            GC_TRY(const bool ready, wait_readable(fd.get(), deadline));
            if (!ready)
                return fail(ErrorKind::io, "the source QEMU did not send its pages in time");
            GC_TRY(const std::size_t got, buffer.fill(fd.get()));
            if (got == 0)
                return fail(ErrorKind::io, "the source QEMU closed its migration stream");
            continue;
        }
        const std::size_t before = fetched_.size();
        if (const auto* command = std::get_if<stream::Command>(&*item))
            GC_CHECK(answer(fd.get(), *command, wanted));
        else if (const auto* section = std::get_if<stream::SectionHeader>(&*item))
            section_ = section->id;
        else if (const auto* page = std::get_if<stream::RamPage>(&*item))
            keep(page->block, page->offset, page->data, wanted);
        else if (const auto* zero = std::get_if<stream::RamZero>(&*item))
            keep(zero->block, zero->offset, {}, wanted);
        else if (std::holds_alternative<stream::EndOfFile>(*item))
            return fail(ErrorKind::protocol, "the source QEMU ended its migration stream early");
        left -= fetched_.size() - before;
        buffer.keep(input.size());
    }
    return {};
}

Result<void> FrozenSource::answer(int fd, const stream::Command& command,
                                  const std::set<PageId>& wanted) {
    stream::Buffer reply;
    stream::Cursor in(command.payload);
    if (command.code == stream::CommandCode::recv_bitmap) {
        // "Nothing was received": then QEMU has so much to send that it never comes to the end.
        const std::string_view name = in.short_string();
        const auto block = std::ranges::find(blocks_, name, &Block::name);
        if (block == blocks_.end())
            return fail(ErrorKind::protocol,
                        "the source QEMU asks for the bitmap of RAM block '{}', which it does not "
                        "list",
                        name);
        stream::append_received(reply, name, std::vector<std::byte>((block->pages + 63) / 64 * 8));
    } else if (command.code == stream::CommandCode::postcopy_resume) {
        stream::append_resume_ack(reply);
        stream::append(reply, requests_for(wanted));
    } else if (command.code == stream::CommandCode::ping) {
        stream::append_pong(reply, in.be<std::uint32_t>());
    }
    return write_all(fd, reply);
}

void FrozenSource::keep(std::string_view block, std::uint64_t offset,
                        std::span<const std::byte> data, const std::set<PageId>& wanted) {
    PageId page{block, offset / page_size};
    if (wanted.contains(page))
        fetched_.try_emplace(std::move(page), data.begin(), data.end());
}

Result<std::span<const std::byte>> FrozenSource::read(const PageId& page,
                                                      std::span<std::byte> room) const {
    const auto& [block, number] = page;
    if (const std::size_t index = image_->find(block); index != image::SourceImage::none) {
        std::array<image::PageContent, 1> content;
        GC_CHECK(image_->read(index, number, content, room));
        return content[0].value_or(std::span<const std::byte>());
    }
    const auto found = fetched_.find(page);
    if (found == fetched_.end())
        return fail(ErrorKind::protocol, "page {} of RAM block '{}' was not fetched", number,
                    block);
    return is_zero(found->second) ? std::span<const std::byte>()
                                  : std::span<const std::byte>(found->second);
}

// ---- the end

Result<void> FrozenSource::end() {
    if (ended_)
        return {};
    return migrate::end_as_received(qmp_, end_timeout);
}

Result<void> FrozenSource::kill() {
    GC_TRY(const auto process, qmp::QemuProcess::open(qmp_));
    if (!process)
        return fail(ErrorKind::unsupported, "process {} is not a QEMU", process_.pid);
    GC_TRY(const bool ended, process->kill(kill_timeout));
    return ended ? Result<void>{}
                 : fail(ErrorKind::io, "the source QEMU (process {}) did not end after SIGKILL",
                        process_.pid);
}

}  // namespace gc::recover
