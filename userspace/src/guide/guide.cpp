// SPDX-License-Identifier: GPL-2.0-or-later
#include "guide/guide.h"
#include "qmp/event.h"

#include "guide/hotplug.h"
#include "guide/images.h"
#include "guide/program.h"
#include "guide/rights.h"
#include "qmp/migration.h"
#include "qmp/monitor_text.h"
#include "qmp/ram_blocks.h"
#include "util/poll.h"
#include "util/private_socket.h"
#include "util/process_maps.h"
#include "util/process_memory.h"
#include "util/whole_file.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <guidecopy.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gc::guide {
namespace {

using namespace std::chrono_literals;

constexpr auto start_timeout = 30s;
constexpr auto load_timeout = 10s;
/// A QEMU's monitor closes before its process has ended.
constexpr auto exit_timeout = 500ms;
/// Also how often the guide's memory is measured.
constexpr auto watch_interval = 50ms;
/// The first of the guide's descriptors: the stream that it loads, then the memory nodes, then
/// those of its command line.
constexpr int incoming_number = 10;
/// The size of the file system for disk overlays: the guide's disks are full after this much.
constexpr std::uint64_t scratch_bytes = std::uint64_t{1} << 30;

Result<capture::Session> session_over(const image::ImageBlock& block, std::uint32_t ring_entries) {
    if (!block.memory)
        return capture::Session::create(block.file.get(), block.offset, block.length, ring_entries);
    GC_TRY(capture::Session session,
           capture::Session::create_over_process(block.memory->pid(), block.memory->address(),
                                                 block.length, ring_entries));
    // The pid may have been reused before the module looked it up: check that it is the same
    // process.
    GC_CHECK(block.memory->check_alive());
    return session;
}

}  // namespace

Result<std::unique_ptr<Guide>> Guide::prepare(qmp::Client& source_qmp, pid_t source,
                                              std::vector<image::ImageBlock> memory,
                                              GuideLimits limits, const ChosenCapture& capture) {
    GC_TRY(Waker news, Waker::create());
    std::unique_ptr<Guide> guide(new Guide(std::move(news), limits));
    const bool userfault = capture.how == report::Capture::userfault;
    GC_CHECK(userfault ? guide->capture_by_userfault(std::move(memory))
                       : guide->capture_by_module(memory));
    GC_CHECK(guide->start_process(source_qmp, source));
    return guide;
}

Guide::~Guide() {
    stop();
}

std::uint32_t Guide::entries_of_each(std::size_t blocks) const {
    const auto share =
        std::max<std::uint32_t>(1, limits_.lead / static_cast<std::uint32_t>(blocks));
    return std::max<std::uint32_t>(std::bit_ceil(share), GC_RING_MIN_ENTRIES);
}

Result<void> Guide::capture_by_module(const std::vector<image::ImageBlock>& memory) {
    for (const image::ImageBlock& block : memory) {
        GC_TRY(capture::Session session, session_over(block, entries_of_each(memory.size())));
        captured_.push_back({block.name, block.backend, block.length, block.memory.has_value(),
                             std::move(session)});
    }
    return {};
}

Result<void> Guide::capture_by_userfault(std::vector<image::ImageBlock> memory) {
    GC_TRY(userfault_, Userfault::open());
    for (const image::ImageBlock& block : memory)
        own_memory_[block.backend] = block.length;
    const std::uint32_t entries = entries_of_each(memory.size());
    GC_TRY(image::SourceImage image, image::SourceImage::open(std::move(memory)));
    GC_TRY(server_, capture::FaultServer::create(std::move(image), entries));
    return {};
}

void Guide::name_memory(GuideSubstitutes& substitutes, SpawnOptions& options) const {
    for (const Captured& captured : captured_) {
        const int number = substitutes.first_fd++;
        // QEMU opens its memory by path.
        substitutes.memory[captured.backend] = {fmt::format("/proc/self/fd/{}", number),
                                                captured.length, captured.copied};
        options.inherited.push_back({captured.session.node(), number});
    }
    for (const auto& [backend, length] : own_memory_)
        substitutes.memory[backend] = {"", length, false};
    if (userfault_)
        userfault_->give(options);
}

namespace {

/// The files of -readconfig, as the source sees them. One that cannot be read is left out: then the
/// option is refused.
std::map<std::string, std::string, std::less<>> config_files(const std::vector<std::string>& argv,
                                                             pid_t source) {
    constexpr std::size_t max_config = std::size_t{1} << 20;
    std::map<std::string, std::string, std::less<>> files;
    for (std::size_t i = 0; i + 1 < argv.size(); ++i) {
        if (argv[i] != "-readconfig" && argv[i] != "--readconfig")
            continue;
        const std::string& path = argv[i + 1];
        const std::string link = path.starts_with('/') ? "root" : "cwd/";
        if (auto text =
                read_whole_file(fmt::format("/proc/{}/{}{}", source, link, path), max_config))
            files[path] = *std::move(text);
    }
    return files;
}

}  // namespace

Result<void> Guide::start_process(qmp::Client& source_qmp, pid_t source) {
    guide::GuideSubstitutes substitutes;
    guide::SpawnOptions options;
    substitutes.first_fd = incoming_number + 1;
    name_memory(substitutes, options);
    GC_TRY(substitutes.backing_files, guide::backing_file_counts(source_qmp));
    GC_TRY(substitutes.disk_sizes, guide::disk_sizes(source_qmp));
    GC_TRY(const Program program, Program::of(source));
    if (program.path.find("qemu", program.path.rfind('/')) == std::string::npos)
        return fail(ErrorKind::unsupported, "expected the source to run a QEMU, it runs {}",
                    program.path);
    GC_TRY(const std::vector<std::string> source_argv, process_command_line(source));
    substitutes.config_files = config_files(source_argv, source);
    GC_CHECK(guide::find_plugged(source_qmp, source_argv, substitutes));
    GC_TRY(guide::GuideCommandLine derived,
           guide::derive_guide_command_line(source_argv, substitutes));
    absent_ = derived.absent;
    GC_TRY(quarantine_, guide::Quarantine::create(derived.taps));

    UniqueFd scratch;
    if (derived.needs_scratch) {
        GC_TRY(scratch, guide::make_scratch(scratch_bytes));
    }
    GC_TRY(SocketPair monitor, SocketPair::make());
    GC_TRY(SocketPair incoming, SocketPair::make());
    options.source = source;
    options.argv = std::move(derived.argv);
    options.network_namespace = quarantine_->network_namespace();
    options.scratch = scratch.get();
    options.inherited.push_back({monitor.theirs.get(), derived.qmp_fd});
    options.inherited.push_back({incoming.theirs.get(), incoming_number});
    for (std::size_t i = 0; i < derived.taps.size(); ++i)
        for (unsigned queue = 0; queue < derived.taps[i].queues; ++queue)
            options.inherited.push_back({quarantine_->taps()[i].queues[queue].get(),
                                         derived.taps[i].first_fd + static_cast<int>(queue)});
    GC_TRY(process_, guide::Process::spawn(options));
    for (Captured& captured : captured_)
        captured.session.close_node();
    incoming_ = std::move(incoming.ours);
    monitor.theirs.reset();

    GC_TRY(qmp_, meet(std::move(monitor.ours)));
    GC_CHECK(Rights::check_sandbox(process_.pid()));
    if (server_)
        find_memory();
    find_nics(derived.taps);
    // Now, while nobody is waiting for it.
    return qmp::migrate_incoming(*qmp_, fmt::format("fd:{}", incoming_number));
}

/// Without them, the guide is not shown what arrives for its VM.
void Guide::find_nics(const std::vector<TapRequest>& taps) {
    const auto text = qmp_->hmp("info network");
    if (!text)
        return;
    for (const qmp::NetworkNic& nic : qmp::parse_networks(*text)) {
        const auto found = std::ranges::find(taps, nic.fd, &TapRequest::first_fd);
        if (found != taps.end())
            nics_.push_back({nic.mac, quarantine_->taps()[found - taps.begin()].name});
    }
}

/// Without the addresses the guide's pages are sent to its QEMU, which is only slower.
void Guide::find_memory() {
    const auto blocks = qmp::ram_blocks(*qmp_, process_.pid());
    if (!blocks)
        return;
    capture::GuidePlace place{process_.pid(), process_.pidfd(), {}};
    for (const capture::BlockRecords& feed : server_->feeds()) {
        const auto found = std::ranges::find(*blocks, feed.block, &qmp::RamBlock::name);
        place.addresses.push_back(found == blocks->end() ? 0 : found->hva);
    }
    place_ = std::move(place);
}

Result<qmp::Client> Guide::meet(UniqueFd monitor) {
    auto qmp = qmp::Client::from_fd(std::move(monitor), start_timeout, "the guide's monitor");
    if (!qmp) {
        (void)wait_readable(process_.pidfd(), exit_timeout);
        return fail(ErrorKind::unsupported, "the guide QEMU did not start: {}",
                    with_last_words(qmp.error().message));
    }
    // QEMU checks here whether it can use userfaultfd (migrate_caps_check, migration/migration.c,
    // 7.2), and says on its standard error why it cannot.
    if (const auto set =
            qmp::set_capabilities(*qmp, {{"events", true}, {"postcopy-ram", server_ != nullptr}});
        !set)
        return fail(ErrorKind::unsupported, "the guide QEMU cannot migrate: {}",
                    with_last_words(set.error().message));
    return qmp;
}

std::string Guide::with_last_words(const std::string& reason) {
    const auto exit = process_.poll_exit();
    const std::string text = exit ? exit->how : reason;
    const std::string words = exit ? exit->last_words : process_.output();
    return words.empty() ? text : fmt::format("{}: {}", text, words);
}

std::vector<capture::BlockRecords> Guide::feeds() {
    std::vector<capture::BlockRecords> feeds;
    for (Captured& captured : captured_)
        feeds.push_back({captured.block, &captured.session});
    if (server_)
        feeds = server_->feeds();
    return feeds;
}

void Guide::load(stream::GuideState state, capture::PageOrigin& origin) {
    worker_ =
        std::thread([this, state = std::move(state), &origin]() mutable { work(state, origin); });
}

void Guide::work(stream::GuideState& state, capture::PageOrigin& origin) {
    const auto begun = std::chrono::steady_clock::now();
    std::optional<GuideEnd> end;
    if (auto running = load_and_run(state, origin); !running) {
        end = GuideEnd{report::GuideEnd::died, running.error().message};
    } else {
        {
            const std::lock_guard lock(mutex_);
            loaded_ = std::chrono::steady_clock::now() - begun;
        }
        news_.signal();
        end = watch();
    }
    // Here, as check() must not wait.
    if (end->how == report::GuideEnd::died)
        (void)wait_readable(process_.pidfd(), exit_timeout);
    const std::lock_guard lock(mutex_);
    end_ = std::move(end);
    news_.signal();
}

Result<void> Guide::forget_copies() {
    // Pages copied before now may have changed since: the VM was still running.
    for (Captured& captured : captured_)
        if (captured.copied)
            GC_CHECK(captured.session.rearm(0, captured.length / page_size));
    return {};
}

Result<void> Guide::load_and_run(stream::GuideState& state, capture::PageOrigin& origin) {
    if (!absent_.empty()) {
        GC_TRY(state.devices, stream::without_devices(state.devices, absent_));
        std::erase_if(state.blocks, [this](const stream::GuideState::Block& block) {
            return stream::is_of(block.name, absent_);
        });
    }
    if (server_) {
        server_->start(std::move(incoming_), std::move(state), origin, news_, std::move(place_));
        return await_running();
    }
    GC_CHECK(forget_copies());
    GC_CHECK(write_all(incoming_.get(), stream::guide_stream(state.preamble, state.devices)));
    ::shutdown(incoming_.get(), SHUT_WR);
    GC_CHECK(await_running());
    return {};
}

Result<void> Guide::await_running() {
    const Deadline deadline(load_timeout);
    // No query-migrate: QEMU would answer it instead of loading.
    for (std::string status; status != "completed";) {
        GC_TRY(const auto event, qmp_->next_event(deadline.left()));
        if (!event)
            return fail(ErrorKind::io, "the guide did not load the device state within {} s",
                        load_timeout.count());
        if (event->name == "RESUME")
            return {};
        if (event->name == "MIGRATION")
            status = event->data.value("status", "");
        if (status == "failed")
            return fail(ErrorKind::io, "the guide could not load the device state");
    }
    // The state says that the VM is paused, since gcctl stopped it before the switch-over. If it
    // said running, QEMU would start it by itself, and RESUME would have come above.
    return qmp::cont(*qmp_);
}

std::uint64_t Guide::measure_memory() {
    std::uint64_t bytes = resident_private(process_.pid()).value_or(0);
    for (Captured& captured : captured_)
        if (const auto stats = captured.session.stats())
            bytes += stats->copied * page_size;
    max_memory_ = std::max(max_memory_, bytes);
    return bytes;
}

GuideEnd Guide::watch() {
    while (!stopping_) {
        const std::uint64_t memory = measure_memory();
        if (limits_.memory != 0 && memory > limits_.memory)
            return {report::GuideEnd::memory_limit,
                    fmt::format("it took {} MiB of memory; --guide-memory allows {} MiB",
                                memory >> 20, limits_.memory >> 20)};
        if (server_)
            if (const auto error = server_->error())
                return {report::GuideEnd::died, error->message};
        const auto event = qmp_->next_event(watch_interval);
        if (!event)
            return {report::GuideEnd::died, event.error().message};
        if (!*event)
            continue;
        const std::string& name = (*event)->name;
        if (name == "STOP" || name == "SHUTDOWN" || name == "RESET" || name == "GUEST_PANICKED" ||
            name == "BLOCK_IO_ERROR")
            return {report::GuideEnd::diverged,
                    fmt::format("it diverged from the VM: QEMU reported {}", name)};
    }
    return {report::GuideEnd::complete, ""};
}

std::optional<std::chrono::nanoseconds> Guide::take_loaded() {
    const std::lock_guard lock(mutex_);
    news_.clear();
    return std::exchange(loaded_, std::nullopt);
}

std::optional<GuideEnd> Guide::check() {
    // Until the worker runs, nobody else notices its death.
    if (process_.poll_exit())
        return GuideEnd{report::GuideEnd::died, with_last_words("")};
    const std::lock_guard lock(mutex_);
    if (end_ && end_->how == report::GuideEnd::died)
        return GuideEnd{end_->how, with_last_words(end_->reason)};
    return end_;
}

GuideTotals Guide::stop() {
    stopping_ = true;
    GuideTotals totals;
    if (!process_)
        return totals;
    (void)process_.kill();
    if (worker_.joinable())
        worker_.join();
    if (server_)
        server_->stop();
    totals.memory = max_memory_;
    totals.sent = quarantine_->sent_by_guide().value_or(guide::Sent{});
    for (const capture::BlockRecords& feed : feeds()) {
        if (const auto stats = feed.source->stats()) {
            totals.records += stats->records;
            totals.dropped += stats->dropped;
            totals.blocked += std::chrono::nanoseconds(stats->blocked_ns);
        }
    }
    return totals;
}

}  // namespace gc::guide
