// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/incoming_qemu.h"

#include "qmp/migration.h"
#include "qmp/ram_blocks.h"
#include "recover/qemu_timeouts.h"
#include "util/page.h"
#include "util/poll.h"

#include <nlohmann/json.hpp>
#include <thread>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;

/// Local. QEMU sends a bit for each page.
constexpr auto handshake_timeout = 30s;
constexpr auto finish_timeout = 60s;

}  // namespace

Result<IncomingQemu> IncomingQemu::open(const std::string& qmp_path) {
    GC_TRY(qmp::Client qmp, qmp::Client::connect_out_of_band(qmp_path, qmp_timeout));
    GC_TRY(const pid_t pid, qmp.peer_pid());
    GC_TRY(const state::Process process, state::Process::of(pid));
    IncomingQemu incoming(std::move(qmp), process);
    GC_CHECK(incoming.look());
    return incoming;
}

Result<void> IncomingQemu::look() {
    GC_TRY(uuid_, qmp::query_uuid(qmp_));
    GC_TRY(const qmp::Capabilities capabilities, qmp::query_capabilities(qmp_));
    preempt_ = qmp::is_on(capabilities, "postcopy-preempt");
    GC_TRY(const auto lines, qmp::ram_block_lines(qmp_));
    for (const qmp::RamBlockLine& line : lines)
        if (!line.name.empty())  // it is no part of the migration
            blocks_.push_back({line.name, line.used_length / page_size,
                               std::max<std::uint64_t>(line.page_size / page_size, 1)});
    GC_CHECK(await_paused());
    return {};
}

Result<void> IncomingQemu::await_paused() {
    for (const Deadline deadline(pause_timeout);;) {
        GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp_, pause_timeout));
        completed_ = migration.completed();
        if (completed_ || migration.status == "postcopy-paused")
            return {};
        if (!migration.status.starts_with("postcopy-") || deadline.expired())
            return fail(ErrorKind::unsupported,
                        "expected a destination QEMU whose post-copy migration broke "
                        "('postcopy-paused'), this one's is '{}'; see 'gcctl status'",
                        migration.status);
        std::this_thread::sleep_for(10ms);
    }
}

std::uint64_t IncomingQemu::missing() const {
    return recover::missing(received_);
}

Result<std::string> IncomingQemu::run_state() {
    GC_TRY(const qmp::RunState state, qmp::query_status(qmp_));
    return state.status;
}

std::optional<std::size_t> IncomingQemu::find(std::string_view block) const {
    for (std::size_t index = 0; index < blocks_.size(); ++index)
        if (blocks_[index].name == block)
            return index;
    return std::nullopt;
}

// ---- the handshake

Result<void> IncomingQemu::shake_hands() {
    main_.reset();
    urgent_.reset();
    buffer_ = {};
    reader_ = stream::ReturnPathReader(stream::ReturnPathReader::Bitmaps::accepted);
    shut_ = false;
    requests_.clear();
    received_.assign(blocks_.size(), PageSet());
    // A main loop that waits for a page does not answer. migrate-recover does without it, and says
    // itself if there is nothing to recover.
    if (auto paused = await_paused(); !paused && paused.error().kind != ErrorKind::io)
        return paused;
    if (completed_)
        return {};
    GC_CHECK(connect());
    GC_CHECK(ask_bitmaps());
    stream::Buffer resume;
    stream::append_command(resume, stream::CommandCode::postcopy_resume, {});
    GC_CHECK(write_all(main_.get(), resume));
    for (const Deadline deadline(handshake_timeout);;) {
        GC_TRY(const auto message, next_message(deadline));
        if (!message)
            return fail(ErrorKind::io, "the destination QEMU did not confirm its recovery in time");
        if (std::holds_alternative<stream::ResumeAck>(*message))
            return {};
    }
}

Result<void> IncomingQemu::connect() {
    GC_TRY(const PrivateDirectory directory, PrivateDirectory::make(process_.pid));
    GC_CHECK(qmp_.execute_out_of_band("migrate-recover",
                                      {{"uri", fmt::format("unix:{}/recover", directory.path())}}));
    GC_TRY(main_, directory.connect("recover", Deadline(qmp_timeout)));
    // QEMU from 10.2 on expects the first bytes of main before it accepts another channel; 7.2
    // reads nothing before it has both.
    stream::Buffer ask;
    for (const Block& block : blocks_) {
        stream::Buffer name;
        stream::append_short_string(name, block.name);
        stream::append_command(ask, stream::CommandCode::recv_bitmap, name);
    }
    GC_CHECK(write_all(main_.get(), ask));
    if (preempt_) {
        GC_TRY(urgent_, directory.connect("recover", Deadline(qmp_timeout)));
    }
    return {};
}

Result<void> IncomingQemu::ask_bitmaps() {
    const Deadline deadline(handshake_timeout);
    for (std::size_t known = 0; known < blocks_.size();) {
        GC_TRY(const auto message, next_message(deadline));
        if (!message)
            return fail(ErrorKind::io,
                        "the destination QEMU did not say in time which pages it has");
        if (const auto* bitmap = std::get_if<stream::ReceivedBitmap>(&*message)) {
            GC_CHECK(take_bitmap(*bitmap));
            ++known;
        }
    }
    return {};
}

Result<void> IncomingQemu::take_bitmap(const stream::ReceivedBitmap& bitmap) {
    const auto block = find(bitmap.block);
    if (!block || bitmap.bits.size() * 8 < blocks_[*block].pages)
        return fail(ErrorKind::protocol, "unexpected bitmap of RAM block '{}'", bitmap.block);
    received_[*block] = PageSet(blocks_[*block].pages, bitmap.bits);
    return {};
}

/// The next message, with requests and the end noted besides.
Result<std::optional<stream::ReturnMessage>> IncomingQemu::next_message(Deadline deadline) {
    for (;;) {
        std::span<const std::byte> input = buffer_.bytes();
        GC_TRY(auto message, reader_.next(input));
        if (message) {
            buffer_.keep(input.size());
            if (const auto* request = std::get_if<stream::PageRequest>(&*message))
                note(*request);
            if (const auto* shut = std::get_if<stream::ShutMessage>(&*message)) {
                shut_ = true;
                if (shut->status != 0)
                    return fail(ErrorKind::io,
                                "the destination QEMU ended its migration with status {}",
                                shut->status);
            }
            return message;
        }
        GC_TRY(const bool ready, wait_readable(main_.get(), deadline));
        if (!ready)
            return std::nullopt;
        GC_TRY(const std::size_t got, buffer_.fill(main_.get()));
        if (got == 0)
            return fail(ErrorKind::io, "the destination QEMU closed its connection");
    }
}

void IncomingQemu::note(const stream::PageRequest& request) {
    const auto block = find(request.block);
    if (block)
        requests_.push_back({static_cast<std::uint16_t>(*block), request.start / page_size,
                             static_cast<std::uint32_t>(request.length / page_size)});
}

// ---- afterwards

Result<std::vector<Request>> IncomingQemu::take_requests() {
    for (;;) {
        GC_TRY(const auto message, next_message(0ms));
        if (!message)
            return std::exchange(requests_, {});
    }
}

Result<void> IncomingQemu::give(const PagesHead& head, std::span<const PageBytes> pages) {
    const std::size_t index = head.block;
    if (index >= blocks_.size())
        return fail(ErrorKind::protocol, "the source sent a page of no RAM block");
    stream::Buffer section;
    stream::append_section_part(section, head.section);
    bool any = false;
    for (const PageBytes& page : pages) {
        if (page.number >= blocks_[index].pages)
            return fail(ErrorKind::protocol, "the source sent a page beyond RAM block '{}'",
                        blocks_[index].name);
        // A second copy would break QEMU's migration (EEXIST).
        if (!received_[index].add(page.number))
            continue;
        stream::append_page_head(section, page.number * page_size,
                                 any ? std::string_view() : blocks_[index].name,
                                 page.bytes.empty());
        stream::append(section, page.bytes);
        any = true;
    }
    if (!any)
        return {};
    stream::append_end_of_ram(section);
    stream::append_section_footer(section, head.section);
    return write_all(main_.get(), section);
}

Result<void> IncomingQemu::finish() {
    if (urgent_) {
        stream::Buffer end;
        stream::append_end_of_ram(end);
        (void)write_all(urgent_.get(), end);
    }
    stream::Buffer end;
    stream::append_eof(end);
    GC_CHECK(write_all(main_.get(), end));
    const Deadline deadline(finish_timeout);
    while (!shut_) {
        GC_TRY(const auto message, next_message(deadline));
        if (!message)
            return fail(ErrorKind::io, "the destination QEMU did not end its migration in time");
    }
    for (;;) {
        GC_TRY(const qmp::MigrationStatus migration, qmp::query_migrate(qmp_));
        completed_ = migration.completed();
        if (completed_)
            return {};
        if (deadline.expired())
            return fail(ErrorKind::io, "the destination QEMU's migration is still '{}'",
                        migration.status);
        std::this_thread::sleep_for(5ms);
    }
}

Result<void> IncomingQemu::start_vm() {
    return qmp_.post("cont");
}

}  // namespace gc::recover
