// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/stream_relay.h"

#include "stream/command.h"
#include "stream/package.h"
#include "stream/return_path.h"
#include "transfer/read_to_end.h"
#include "util/poll.h"

#include <array>
#include <thread>
#include <utility>

namespace gc::transfer {

using namespace std::chrono_literals;

StreamRelay::StreamRelay(SourceSocket& source, PreemptChannel& preempt, PageSender& sender,
                         const image::SourceImage& image, AskedPages& asked, KeptPages& kept,
                         GuideOrigin& origin, Notices& notices, OnSwitchOver on_switch_over,
                         const Waker& wake, OnBlocks on_blocks,
                         std::chrono::milliseconds guide_wait)
    : source_(source), preempt_(preempt), sender_(sender), image_(image), asked_(asked),
      kept_(kept), origin_(origin), notices_(notices), on_switch_over_(std::move(on_switch_over)),
      wake_(wake), on_blocks_(std::move(on_blocks)), guide_wait_(guide_wait) {}

Result<void> StreamRelay::run() {
    while (mode_ != Mode::done && !stopping_) {
        std::array<pollfd, 3> waits{{{reads_on() ? source_.fd() : -1, POLLIN, 0},
                                     {wake_.fd(), POLLIN, 0},
                                     {mode_ == Mode::picking ? preempt_.fd() : -1, POLLIN, 0}}};
        (void)poll_until(waits, Deadline::never());
        if (waits[1].revents != 0)
            wake_.clear();
        if (stopping_)
            return {};
        if (waits[0].revents != 0)
            GC_CHECK(read());
        if (waits[2].revents != 0 && mode_ == Mode::picking)
            GC_CHECK(pick_preempted());
        if (mode_ != Mode::picking)
            continue;
        if (fetch_wanted_ && lacking_ > 0 && !std::exchange(requested_, true))
            GC_CHECK(request_uncovered_blocks());
        GC_CHECK(send_kept());
    }
    return {};
}

Result<void> StreamRelay::read() {
    // Read little at once on a slow path: the end of the stream, for which the VM is stopped, waits
    // for everything read before it.
    const auto got = buffer_.fill(source_.fd(), sender_.relay_piece());
    const bool ended = got ? *got == 0 : SourceSocket::is_end(got.error());
    if ((ended || !got) && mode_ == Mode::picking && lacking_ == 0) {
        source_gone_ = true;  // only the guide asked for more
        return {};
    }
    if (ended && mode_ != Mode::verbatim)
        return fail(ErrorKind::io, "the source QEMU closed its migration stream");
    if (ended) {
        mode_ = Mode::done;
        return {};
    }
    if (!got)
        return Unexpected(got.error());
    std::span<const std::byte> input = buffer_.bytes();
    pending_bytes_ = input.size();
    const Result<void> consumed = consume(input);
    // Also after an error: drain() continues from here.
    buffer_.keep(input.size());
    GC_CHECK(consumed);
    GC_CHECK(flush());
    pending_bytes_ = buffer_.bytes().size();
    return {};
}

Result<void> StreamRelay::drain(std::chrono::milliseconds timeout) {
    if (!ended_)
        GC_CHECK(read_to_end(source_.fd(), reader_, buffer_, timeout,
                             [](const auto&) { return Result<void>{}; }));
    stream::Buffer shut;
    stream::append_shut(shut, 0);
    return source_.write(shut);
}

Result<void> StreamRelay::consume(std::span<const std::byte>& input) {
    while (mode_ != Mode::done) {
        const std::span<const std::byte> before = input;
        const auto raw = [&] { return before.first(before.size() - input.size()); };
        if (const auto run = mode_ == Mode::relaying ? reader_.next_run(input) : std::nullopt) {
            GC_CHECK(precopy_pages(*run, raw()));
            continue;
        }
        GC_TRY(const auto item, reader_.next(input));
        if (!item)
            return {};
        if (mode_ == Mode::picking)
            GC_CHECK(pick_item(*item));
        else
            GC_CHECK(relay_item(*item, raw()));
    }
    return {};
}

Result<void> StreamRelay::flush() {
    if (pending_.empty())
        return {};
    if (mode_ == Mode::relaying) {
        const auto rest = sender_.rest();
        std::this_thread::sleep_for(rest);
        sender_.rested(rest);
    }
    pending_.lend(buffer_.lend());
    GC_CHECK(sender_.relay(pending_));
    pending_.clear();
    return {};
}

// ---- before switch-over

Result<void> StreamRelay::relay_item(const stream::Item& item, std::span<const std::byte> raw) {
    if (const auto* configuration = std::get_if<stream::Configuration>(&item)) {
        stream::append_header(preamble_);
        stream::Buffer portable;
        stream::append_portable_configuration(portable, *configuration);
        stream::append(preamble_, portable);
        pending_.own(std::move(portable));
        return {};
    }
    if (const auto* command = std::get_if<stream::Command>(&item))
        return relay_command(*command, raw);
    if (const auto* package = std::get_if<stream::Package>(&item))
        return switch_over(*package, raw);
    if (const auto* section = std::get_if<stream::SectionHeader>(&item)) {
        if (section->name == stream::ram_section_name)
            ram_section_ = section->id;
        else if (mode_ == Mode::relaying) {
            mode_ = Mode::verbatim;
            notices_.post(Converged{});
        }
    } else if (const auto* list = std::get_if<stream::RamBlockList>(&item)) {
        GC_TRY(ledger_, on_blocks_(*list, ram_section_));
        origin_.begin(*ledger_);
    } else if (const auto* page = std::get_if<stream::RamPage>(&item)) {
        return precopy_pages({page->block, page->index, page->offset, 1, false}, raw);
    } else if (const auto* zero = std::get_if<stream::RamZero>(&item)) {
        return precopy_pages({zero->block, zero->index, zero->offset, 1, true}, raw);
    }
    pending_.refer(raw);
    return {};
}

Result<void> StreamRelay::precopy_pages(const stream::RamRun& run, std::span<const std::byte> raw) {
    if (ledger_ == nullptr)
        return fail(ErrorKind::protocol,
                    "the source QEMU sent a page before it announced its RAM blocks");
    precopy_bytes_ += raw.size();
    if (run.zero)
        precopy_zeros_ += run.pages;
    pending_.refer(raw);
    keep(run, raw);
    return ledger_->deliver_precopy(run.index, run.offset / page_size, run.pages);
}

void StreamRelay::keep(const stream::RamRun& run, std::span<const std::byte> raw) {
    if (!origin_.expects_requests() || sender_.has_image(run.index))
        return;
    // Every record ends with its page. Only the first of a run may name the block.
    const std::size_t record = run.zero ? 0 : sizeof(std::uint64_t) + page_size;
    for (std::uint64_t i = run.pages; i-- > 0; raw = raw.first(raw.size() - record))
        (void)kept_.keep({run.index, run.offset / page_size + i},
                         run.zero ? image::PageContent() : image::PageContent(raw.last(page_size)));
}

Result<void> StreamRelay::relay_command(const stream::Command& command,
                                        std::span<const std::byte> raw) {
    // Not relayed: it lets slow devices (VFIO) prepare, and a destination older than 10.0 does not
    // know it.
    if (command.code == stream::CommandCode::switchover_start)
        return {};
    if (command.code == stream::CommandCode::postcopy_ram_discard) {
        GC_TRY(const stream::Discard discard, stream::parse_discard(command.payload));
        const std::size_t block =
            ledger_ == nullptr ? ledger::Ledger::no_block : ledger_->find(discard.block);
        if (block == ledger::Ledger::no_block)
            return fail(ErrorKind::protocol,
                        "the source QEMU discards pages of RAM block '{}', which it did not "
                        "announce",
                        discard.block);
        for (const stream::PageRange& range : discard.ranges) {
            GC_CHECK(ledger_->discard(block, range.first, range.count));
            kept_.forget(block, range.first, range.count);
        }
        discarded_ = true;
    }
    pending_.refer(raw);
    return {};
}

Result<void> StreamRelay::ensure_discard() {
    if (discarded_ || image_.blocks().empty())
        return {};
    // Without a discard, QEMU 7.2 to 11 refuses RUN: loadvm_postcopy_handle_listen() in
    // migration/savevm.c sets the state to LISTENING and then calls postcopy_ram_prepare_discard(),
    // which sets it back to DISCARD.
    const std::string& name = image_.blocks().front().name;
    const std::size_t block = ledger_->find(name);
    const stream::PageRange first{0, ledger_->granule(block)};
    GC_CHECK(ledger_->discard(block, first.first, first.count));
    stream::Buffer discard;
    stream::append_discard(discard, name, std::span(&first, 1));
    pending_.own(std::move(discard));
    return {};
}

Result<void> StreamRelay::switch_over(const stream::Package& package,
                                      std::span<const std::byte> raw) {
    if (ledger_ == nullptr)
        return fail(ErrorKind::protocol,
                    "the source QEMU switched over before it announced its RAM blocks");
    GC_TRY(const stream::PackageParts parts, stream::split_package(package.body));
    GC_CHECK(ensure_discard());
    GC_CHECK(ledger_->check_granules());
    // The destination QEMU loads the package once it has the last byte.
    const std::span<const std::byte> last = raw.last(1);
    pending_.refer(raw.first(raw.size() - last.size()));
    // Posted before the package is sent: the control loop must know which pong to wait for before
    // it can arrive.
    notices_.post(SwitchedOver{guide_state(parts.devices), parts.last_ping});
    GC_CHECK(sender_.begin_switch_over(pending_));
    pending_.clear();
    await_guide();
    if (stopping_)
        return {};
    pending_.refer(last);
    GC_CHECK(sender_.switch_over(pending_));
    pending_.clear();
    lacking_ = uncovered_missing();
    mode_ = lacking_ == 0 ? Mode::done : Mode::picking;
    on_switch_over_();
    return {};
}

stream::GuideState StreamRelay::guide_state(std::span<const std::byte> devices) const {
    stream::GuideState state{.preamble = preamble_,
                             .devices = {devices.begin(), devices.end()},
                             .blocks = {},
                             .ram_section = ram_section_};
    for (const ledger::Ledger::Block& block : ledger_->blocks())
        state.blocks.push_back({block.name, block.pages * page_size});
    return state;
}

void StreamRelay::await_guide() {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const Deadline deadline(guide_wait_);
    while (!deadline.expired() && !released_ && !stopping_)
        wake_.wait(deadline);
    waited_ = Clock::now() - begin;
}

// ---- after switch-over

bool StreamRelay::reads_on() const {
    if (mode_ != Mode::picking)
        return true;
    return !source_gone_ && ((lacking_ > 0 && (requested_ || asked_.any())) || origin_.wants());
}

Result<void> StreamRelay::request_uncovered_blocks() {
    stream::Buffer requests;
    for (std::size_t index = 0; index < ledger_->blocks().size(); ++index) {
        if (sender_.has_image(index) || ledger_->missing(index) == 0)
            continue;
        const ledger::Ledger::Block& block = ledger_->blocks()[index];
        // A request covers less than 4 GiB; no ROM or video memory comes near that.
        const std::uint64_t length = std::min<std::uint64_t>(block.pages * page_size, 0xfffff000U);
        stream::append_page_request(requests, block.name, 0, static_cast<std::uint32_t>(length));
    }
    return source_.write(requests);
}

std::uint64_t StreamRelay::uncovered_missing() const {
    std::uint64_t missing = 0;
    for (std::size_t i = 0; i < ledger_->blocks().size(); ++i)
        if (!sender_.has_image(i))
            missing += ledger_->missing(i);
    return missing;
}

Result<void> StreamRelay::pick_item(const stream::Item& item) {
    if (const auto* page = std::get_if<stream::RamPage>(&item))
        pick(page->index, page->offset, page->data);
    else if (const auto* zero = std::get_if<stream::RamZero>(&item))
        pick(zero->index, zero->offset, std::nullopt);
    else if (std::holds_alternative<stream::EndOfFile>(item))
        ended_ = source_gone_ = true;
    if (ended_ && lacking_ > 0)
        return fail(ErrorKind::protocol,
                    "the source QEMU ended its stream without {} pages of ROMs or video memory",
                    lacking_);
    return {};
}

Result<void> StreamRelay::pick_preempted() {
    return preempt_.read(
        [this](std::string_view name, std::uint64_t offset, const image::PageContent& content) {
            const std::size_t block = ledger_->find(name);
            if (block != ledger::Ledger::no_block &&
                offset / page_size < ledger_->blocks()[block].pages)
                pick(block, offset, content);
        });
}

void StreamRelay::pick(std::size_t block, std::uint64_t offset, const image::PageContent& content) {
    if (sender_.has_image(block))
        return;
    const PageRef page{block, offset / page_size};
    if (kept_.keep(page, content) && !ledger_->has(page.block, page.number))
        --lacking_;
    origin_.arrived(page);
}

Result<void> StreamRelay::send_kept() {
    for (const PageRef page : asked_.list())
        GC_CHECK(send_kept(page));
    for (std::size_t block = 0; rest_wanted_ && block < ledger_->blocks().size(); ++block) {
        if (sender_.has_image(block))
            continue;
        const std::uint64_t pages = ledger_->blocks()[block].pages;
        for (std::uint64_t page = ledger_->next_missing(block, 0); page < pages && !stopping_;
             page = ledger_->next_missing(block, page + 1)) {
            GC_CHECK(send_kept({block, page}));
            for (const PageRef asked : asked_.list())
                GC_CHECK(send_kept(asked));
        }
    }
    if (uncovered_missing() == 0)
        mode_ = Mode::done;
    return {};
}

Result<void> StreamRelay::send_kept(PageRef page) {
    std::array<std::byte, page_size> room;
    const auto content = kept_.find(page, room);
    if (!content)
        return {};
    const bool asked = asked_.take(page);
    GC_CHECK(sender_.forward(page, *content, asked, asked_.any()));
    return {};
}

}  // namespace gc::transfer
