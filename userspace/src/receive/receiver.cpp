// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/receiver.h"

#include "metrics/file.h"
#include "metrics/migration.h"
#include "peer/identity.h"
#include "preflight/facts.h"
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"
#include "receive/libvirt_destination.h"
#include "receive/memory_check.h"
#include "receive/one_time_key.h"
#include "receive/qmp_destination.h"
#include "report/report.h"
#include "util/guarded.h"
#include "util/milliseconds.h"
#include "util/page.h"
#include "util/poll.h"
#include "util/print.h"
#include "util/text.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

/// For the handshake and the hello of one connection.
constexpr auto greet_timeout = 10s;
/// The source runs its checks and starts its guide before it opens the channels.
constexpr auto channels_timeout = 120s;
/// From the last channel to the first bytes of QEMU's stream.
constexpr auto stream_timeout = 60s;
constexpr auto tick = 250ms;
constexpr auto shut_timeout = 5s;
/// For the source's word that it keeps the VM, when a manager has ended the VM's copy here.
constexpr auto hear_timeout = 500ms;
/// For a source that has given up, and whose host has ended its connections.
constexpr auto abandoned_limit = 500ms;
/// How often a destination QEMU that hangs is asked until it is given up.
constexpr unsigned max_hangs = 6;
constexpr std::size_t file_header_bytes = 8;

/// What failed before anything was touched is a refusal.
template <typename T> Result<T> untouched(Result<T> result) {
    if (!result && result.error().kind != ErrorKind::usage)
        result.error().kind = ErrorKind::unsupported;
    return result;
}

Result<std::unique_ptr<DestinationQemu>> open_destination(const Options& options) {
    if (options.connect.empty()) {
        GC_TRY(auto destination, QmpDestination::prepare(options.qmp));
        return std::unique_ptr<DestinationQemu>(std::move(destination));
    }
    GC_TRY(auto destination, LibvirtDestination::prepare(options.connect, options.socket));
    return std::unique_ptr<DestinationQemu>(std::move(destination));
}

template <typename... Ts> struct Overloaded : Ts... { using Ts::operator()...; };
template <typename... Ts> Overloaded(Ts...) -> Overloaded<Ts...>;  // clang before 17 needs it

}  // namespace

Result<void> Receiver::run(const Options& options, UniqueFd listener) {
    GC_TRY(Signals signals, Signals::block());  // in all threads, so first
    GC_TRY(peer::Security security, security_of(options));
    GC_TRY(auto destination, untouched(open_destination(options)));
    std::optional<TouchMeter> touches;
    if (options.measure) {
        GC_TRY(touches, TouchMeter::start(*destination->monitor()));
    }
    GC_TRY(Waker notices, Waker::create());
    GC_TRY(auto guardian, destination->guard());
    Receiver receiver(options, std::move(security), std::move(destination), std::move(guardian),
                      std::move(touches), std::move(notices), std::move(signals));
    GC_CHECK(receiver.check_memory());
    GC_CHECK(untouched(receiver.listen(std::move(listener))));
    return receiver.receive();
}

Result<void> Receiver::check_memory() const {
    qmp::Client* monitor = destination_->monitor();
    return options_.allow_overcommit || monitor == nullptr ? Result<void>{}
                                                           : receive::check_memory(*monitor);
}

Receiver::~Receiver() {
    if (zeros_)
        zeros_->stop();
    if (to_qemu_main_)
        to_qemu_main_->stop();
    if (to_qemu_urgent_)
        to_qemu_urgent_->stop();
}

Result<void> Receiver::listen(UniqueFd listener) {
    if (!listener) {
        GC_TRY(listener, tcp_listen(options_.listen));
    }
    GC_TRY(const std::uint16_t port, local_port(listener.get()));
    GC_TRY(acceptor_,
           Acceptor::start(
               std::move(listener),
               [this](UniqueFd fd, Deadline deadline) { return secure(std::move(fd), deadline); },
               [this](Arrival arrival) { return admit(std::move(arrival)); }, greet_timeout));
    say("listening",
        fmt::format("waiting for a VM on {}",
                    Endpoint{options_.listen.host, std::to_string(port)}.str()),
        {{"address", options_.listen.host}, {"port", port}});
    if (security_.protection == peer::Protection::insecure && !options_.json)
        print_best_effort(stderr, "gcctl: warning: --insecure: anybody can send a VM here or read "
                                  "it on its way\n");
    return {};
}

Result<peer::Connection> Receiver::secure(UniqueFd fd, Deadline deadline) {
    if (!security_.credentials)
        return peer::Connection(std::move(fd));
    GC_TRY(tls::Session session,
           tls::Session::server(
               fd.get(), *security_.credentials,
               [this](std::string_view identity) { return keys_.find(identity); }, deadline));
    return peer::Connection(std::move(fd), std::move(session));
}

std::shared_ptr<peer::Channels> Receiver::channels_of(const peer::Token& token) const {
    const std::lock_guard lock(session_mutex_);
    return token == token_ ? channels_ : nullptr;
}

Result<void> Receiver::check_identity(const Arrival& arrival) const {
    const tls::Session* session = arrival.connection.session();
    if (session != nullptr &&
        session->psk_identity() != peer::key_identity(arrival.hello.token, arrival.hello.channel))
        return fail(ErrorKind::unsupported,
                    "it did not prove with the channel's key that it is of this migration");
    return {};
}

std::optional<Arrival> Receiver::admit(Arrival arrival) {
    const auto channels = channels_of(arrival.hello.token);
    const bool known = channels && !channels->are_raw();
    if (arrival.hello.resume && !known)
        peer::reject_attach(arrival.connection);
    else if (!known || (arrival.hello.channel == peer::ChannelId::control && !arrival.hello.resume))
        return arrival;
    const std::string from = arrival.from;
    Result<void> done = known ? check_identity(arrival)
                              : fail(ErrorKind::protocol, "its migration is not known here");
    if (done)
        done = channels->attach(arrival.hello.channel, std::move(arrival.connection),
                                peer::Channels::attach_timeout);
    // An io error is another loss: the source connects again.
    if (!done && done.error().kind != ErrorKind::io)
        print_best_effort(stderr, "gcctl: a connection from {} was rejected: {}\n", from,
                          done.error().message);
    return std::nullopt;
}

Result<void> Receiver::receive() {
    GC_CHECK(guarded([this] { return await_source(); }));
    Result<void> done = guarded([this]() -> Result<void> {
        GC_CHECK(start_stream());
        return loop();
    });
    if (!done && completed_ && runs_ && destination_->managed()) {
        print_best_effort(stderr,
                          "gcctl: warning: the VM is whole here, as libvirt has completed the "
                          "migration; what failed here: {}\n",
                          done.error().message);
        done = {};
    }
    if (done)
        finish();
    else
        done = Unexpected(lost(done.error()));
    mirror_.reset();
    deliverer_.reset();
    await_told();
    count(done ? std::nullopt : std::optional(done.error().kind));
    return done;
}

void Receiver::count(std::optional<ErrorKind> failure) const {
    if (!options_.metrics_file)
        return;
    const metrics::Received received{.failure = failure,
                                     .duration = Clock::now() - begun_,
                                     .demand = meter_.result().report(),
                                     .end = std::chrono::system_clock::now()};
    const auto counted = metrics::update(*options_.metrics_file, [&](auto& exposition) {
        metrics::count_received(exposition, received);
    });
    if (!counted)
        print_best_effort(stderr, "gcctl: warning: {}\n", counted.error().message);
}

// ---- before QEMU is touched

Result<void> Receiver::await_source() {
    const Deadline deadline = options_.wait.count() == 0 ? Deadline::never() : options_.wait;
    for (;;) {
        auto arrival = std::exchange(next_, std::nullopt);
        while (!arrival) {
            GC_TRY(arrival, next_arrival(deadline));
        }
        if (arrival->hello.channel != peer::ChannelId::control)
            continue;  // of a migration that has ended: the connection is closed
        source_ = arrival->from;
        Result<void> opened = open_session(*std::move(arrival));
        if (opened || interrupted_)
            return opened;
        end_session();
        print_best_effort(stderr, "gcctl: the source at {} left: {}; waiting for another one\n",
                          source_, opened.error().message);
    }
}

void Receiver::end_session() {
    control_.reset();
    keys_.withdraw_all();
    policy_.reset();
    destination_->connected();
    const std::lock_guard lock(session_mutex_);
    channels_.reset();
    token_ = {};
}

/// The next connection, or nullopt after news of the channels. Errors: io, if none comes or QEMU
/// ends.
Result<std::optional<Arrival>> Receiver::next_arrival(Deadline deadline) {
    for (;;) {
        if (auto arrival = acceptor_->take())
            return arrival;
        GC_CHECK(on_qemu());
        GC_CHECK(on_signals());
        std::array<pollfd, 6> waits{{{acceptor_->fd(), POLLIN, 0},
                                     {destination_->fd(), POLLIN, 0},
                                     {control_ ? control_->fd() : -1, POLLIN, 0},
                                     {options_.psk_stdin ? STDIN_FILENO : -1, POLLIN, 0},
                                     {control_ ? channels_->fd() : -1, POLLIN, 0},
                                     {signals_.fd(), POLLIN, 0}}};
        (void)poll_until(waits, control_
                                    ? Deadline(std::min<Clock::duration>(deadline.left(), tick))
                                    : deadline);
        if (waits[3].revents != 0)
            return fail(ErrorKind::io, "standard input ended before a VM arrived");
        if (deadline.expired() && control_)
            return fail(ErrorKind::io, "it did not open its channels in time");
        if (deadline.expired())
            return fail(ErrorKind::io, "no source connected within {} ms", options_.wait.count());
        if (waits[2].revents != 0)
            GC_CHECK(on_control());
        if (control_) {
            GC_CHECK(on_connections());
            return std::nullopt;
        }
    }
}

peer::Ready Receiver::ready(int version) {
    peer::Ready ready{.version = version,
                      .qemu = destination_->version(),
                      .preempt = destination_->has_preempt(),
                      .measure = options_.measure,
                      .seal = refusal_->seal(),
                      .vm = {},
                      .mirror = {},
                      .compressions = {}};
    if (version >= peer::compression_version)
        ready.compressions.assign(peer::compressions.begin(), peer::compressions.end());
    qmp::Client* monitor = destination_->monitor();
    if (monitor == nullptr && version >= peer::mirror_version)
        ready.mirror = peer::MirrorOffer{.nics = {}, .reason = "libvirt starts its QEMU later"};
    if (version < peer::facts_version || monitor == nullptr)
        return ready;
    if (auto facts = preflight::facts_of(*monitor))
        ready.vm = *std::move(facts);
    else
        print_best_effort(stderr,
                          "gcctl: warning: the source cannot compare this QEMU with its own: {}\n",
                          facts.error().message);
    if (const auto fits = receive::check_memory(*monitor); !fits && ready.vm) {
        ready.vm->memory = fits.error().message;
        ready.vm->overcommit = options_.allow_overcommit;
    }
    // A QEMU with some hundred disks, or memory backends.
    if (peer::encode(ready).size() > peer::max_line && ready.vm)
        ready.vm->disks.reset();
    if (peer::encode(ready).size() > peer::max_line)
        ready.vm.reset();
    if (version < peer::mirror_version)
        return ready;
    find_taps();
    ready.mirror = peer::MirrorOffer{.nics = {}, .reason = taps_->reason};
    for (const mirror::Tap& tap : taps_->found)
        ready.mirror->nics.push_back(tap.mac);
    return ready;
}

void Receiver::find_taps() {
    qmp::Client& monitor = *destination_->monitor();
    const auto qemu = monitor.peer_pid();
    taps_ = qemu ? mirror::find_taps(monitor, *qemu) : mirror::Taps{{}, qemu.error().message};
}

/// The VM does not need it: without, its guide is not shown what arrives.
void Receiver::start_mirror() {
    if (!taps_ || !channels_->opened(peer::ChannelId::mirror))
        return;
    auto started = mirror::Sender::start(std::move(taps_->found), channel(peer::ChannelId::mirror));
    taps_.reset();
    if (started)
        mirror_ = *std::move(started);
    else
        print_best_effort(stderr,
                          "gcctl: warning: the guide is not shown what arrives for the VM: {}\n",
                          started.error().message);
}

/// Like the mirror, no need of the VM's.
void Receiver::open_ports() {
    if (!taps_ || version_ < peer::forward_version)
        return;
    if (auto opened = forward::Deliverer::open(taps_->found))
        ports_ = *std::move(opened);
    else
        print_best_effort(stderr,
                          "gcctl: warning: what arrived for the VM at the source cannot be "
                          "delivered: {}\n",
                          opened.error().message);
}

void Receiver::start_delivery() {
    if (!channels_->opened(peer::ChannelId::forward))
        return;
    // Without a port, the source has to know that nobody reads.
    auto started = forward::Deliverer::start(std::move(ports_), channel(peer::ChannelId::forward));
    if (started)
        deliverer_ = *std::move(started);
    else
        print_best_effort(stderr,
                          "gcctl: warning: what arrived for the VM at the source is not "
                          "delivered: {}\n",
                          started.error().message);
}

std::optional<peer::Delivered> Receiver::delivered() const {
    if (!deliverer_)
        return std::nullopt;
    if (const auto error = deliverer_->error())
        print_best_effort(stderr,
                          "gcctl: warning: what arrived for the VM at the source was no longer "
                          "delivered: {}\n",
                          error->message);
    const forward::DelivererCounts counts = deliverer_->counts();
    return peer::Delivered{counts.packets, counts.refused};
}

/// If the NIC towards the source has a traffic policy, what is sent there is no tenant's.
void Receiver::join_policy(int source, peer::Channels& channels) {
    auto joined = policy::PolicyLease::join(source);
    if (!joined)
        return print_best_effort(stderr,
                                 "gcctl: warning: the traffic policy does not know what is sent to "
                                 "the source: {}\n",
                                 joined.error().message);
    policy_ = *std::move(joined);
    if (!policy_)
        return;
    channels.set_mark(policy_->mark(GC_URGENT));
    say("policy",
        fmt::format("what the source waits for is urgent to the policy '{}' on {}",
                    policy_->policy_name(), policy_->device()),
        {{"name", policy_->policy_name()}, {"device", policy_->device()}});
}

Result<void> Receiver::open_session(Arrival arrival) {
    peer::Connection connection = std::move(arrival.connection);
    const auto version = peer::agree(arrival.hello);
    if (!version) {
        (void)peer::send_answer(connection,
                                peer::Refused{.reason = version.error().message, .proof = {}});
        return Unexpected(version.error());
    }
    version_ = *version;
    if (const tls::Session* session = connection.session()) {
        source_ = fmt::format("{} ({})", source_, printable(session->peer()));
        GC_TRY(const peer::ChannelKeys keys, peer::ChannelKeys::of(*session));
        keys_.offer(arrival.hello.token, keys);
    }
    GC_TRY(refusal_, peer::Refusal::make());
    GC_TRY(const std::string id, peer::public_id(arrival.hello.token));
    if (auto expected = destination_->expect(id); !expected) {
        (void)peer::send_answer(connection,
                                peer::Refused{.reason = expected.error().message, .proof = {}});
        return expected;
    }
    GC_TRY(auto channels, *version >= peer::records_version
                              ? peer::Channels::create({.end = peer::End::destination, .dial = {}})
                              : peer::Channels::raw(peer::End::destination));
    join_policy(connection.fd(), *channels);
    {
        const std::lock_guard lock(session_mutex_);
        channels_ = std::move(channels);
        token_ = arrival.hello.token;
    }
    GC_CHECK(peer::send_answer(connection, ready(*version)));
    GC_CHECK(channels_->attach(peer::ChannelId::control, std::move(connection), greet_timeout));
    control_.emplace(channel(peer::ChannelId::control), peer::End::destination,
                     peer::State::prepared);
    return await_channels();
}

bool Receiver::all_open() const {
    return channels_->opened(peer::ChannelId::main) && channels_->opened(peer::ChannelId::bulk) &&
           (!destination_->has_preempt() || channels_->opened(peer::ChannelId::urgent));
}

Result<void> Receiver::await_channels() {
    const Deadline deadline(channels_timeout);
    while (!all_open()) {
        GC_TRY(auto arrival, next_arrival(deadline));
        if (!arrival)
            continue;
        if (arrival->hello.channel == peer::ChannelId::control && channels_->outage()) {
            next_ = std::move(arrival);
            return fail(ErrorKind::io, "its connection was lost, and another source came");
        }
        take_channel(*std::move(arrival));
    }
    // Once more: it may have waited for days, and an older source does not compare.
    if (auto fits = check_memory(); !fits) {
        (void)control_->send(peer::Refused{.reason = fits.error().message, .proof = {}});
        return fits;
    }
    control_->opened();
    return {};
}

void Receiver::take_channels() {
    while (auto arrival = acceptor_ ? acceptor_->take() : std::nullopt)
        take_channel(*std::move(arrival));
}

/// An arrival that admit() has left: of a raw channel, or to be rejected.
void Receiver::take_channel(Arrival arrival) {
    const auto reject = [&](std::string_view reason) {
        print_best_effort(stderr, "gcctl: a connection from {} was rejected: {}\n", arrival.from,
                          reason);
    };
    if (arrival.hello.channel == peer::ChannelId::control) {
        const std::string reason =
            fmt::format("{} {}; wait for its end", peer::busy_reason, source_);
        (void)peer::send_answer(arrival.connection, peer::Refused{.reason = reason, .proof = {}});
        return reject(reason);
    }
    if (arrival.hello.token != token_)
        return reject("its token is of another migration");
    if (const auto proven = check_identity(arrival); !proven)
        return reject(proven.error().message);
    if (const auto taken =
            channels_->attach(arrival.hello.channel, std::move(arrival.connection), greet_timeout);
        !taken)
        return reject(taken.error().message);
    keys_.withdraw(peer::key_identity(token_, arrival.hello.channel));
}

// ---- the stream

Result<void> Receiver::start_stream() {
    if (!destination_->managed())
        keep_record();
    if (channels_->are_raw())
        acceptor_.reset();  // no channel can come again
    if (guardian_)
        guardian_->arm();
    begun_ = Clock::now();
    say("receiving", fmt::format("receiving a VM from {}", source_), {{"source", source_}});
    GC_TRY(zeros_, make_zero_placer());
    open_ports();
    if (const auto listens = destination_->listen(); !listens)
        return fail(listens.error().kind, "the destination QEMU does not listen ({}); {}",
                    listens.error().message, destination_->output().hint());
    GC_TRY(qemu_main_, destination_->connect());
    if (destination_->managed())
        keep_record();
    to_qemu_main_ = std::make_unique<StreamMerger>(
        channel(peer::ChannelId::main), channel(peer::ChannelId::bulk), qemu_main_,
        MergerTaps{.begun = [this] { notices_.post(StreamBegan{}); },
                   .broke = [this](const Error& error) { notices_.post(StreamBroke{error}); },
                   .switched_over =
                       [this] {
                           meter_.saw_switch_over();
                           notices_.post(StateGiven{});
                       },
                   .sections = [this](auto bytes) { meter_.saw_sections(bytes); }},
        zeros_.get());
    stream_began_by_ = Clock::now() + stream_timeout;
    to_qemu_main_->start(file_header_bytes);
    return {};
}

Result<std::unique_ptr<ZeroPlacer>> Receiver::make_zero_placer() {
    qmp::Client* monitor = destination_->monitor();
    if (version_ < peer::zeros_version || monitor == nullptr)
        return nullptr;
    GC_TRY(const auto lines, qmp::ram_block_lines(*monitor));
    std::vector<ZeroPages::Block> blocks;
    for (const qmp::RamBlockLine& line : lines)
        if (!line.name.empty())
            blocks.push_back({.name = line.name,
                              .pages = line.max_length / page_size,
                              .small = line.page_size == page_size});
    small_pages_ = std::ranges::all_of(blocks, &ZeroPages::Block::small);
    return std::make_unique<ZeroPlacer>(
        std::move(blocks), [this](std::uint32_t section, std::string_view block,
                                  std::uint64_t page) { give_zero(section, block, page); });
}

void Receiver::give_zero(std::uint32_t ram_section, std::string_view block, std::uint64_t page) {
    stream::Buffer bytes;
    if (to_qemu_urgent_ && small_pages_) {
        stream::append_page_head(bytes, page * page_size, block, true);
        (void)to_qemu_urgent_->give(bytes);
        return;
    }
    stream::append_section_part(bytes, ram_section);
    stream::append_page_head(bytes, page * page_size, block, true);
    stream::append_end_of_ram(bytes);
    stream::append_section_footer(bytes, ram_section);
    (void)to_qemu_main_->give(bytes);
}

void Receiver::start_urgent() {
    peer::Channel& urgent = channel(peer::ChannelId::urgent);
    const auto given = [this](auto bytes) { meter_.saw_urgent(bytes); };
    const bool framed = version_ >= peer::compression_version;
    const bool gives = zeros_ && small_pages_;
    if (!framed && !gives) {
        to_qemu_urgent_as_it_is_ = std::make_unique<ByteRelay>(urgent, qemu_urgent_, given);
        return;
    }
    to_qemu_urgent_ = std::make_unique<UrgentRelay>(
        urgent, qemu_urgent_,
        UrgentTaps{.given = given,
                   .await_end = [this, gives] { return !gives || zeros_->await_placed(); },
                   .broke = [this](const Error& error) { notices_.post(StreamBroke{error}); }},
        UrgentForm{.framed = framed, .named = gives});
}

void Receiver::saw_return_path(std::span<const std::byte> bytes) {
    destination_->saw_return_path(bytes);
    if (!zeros_)
        return meter_.saw_requests(bytes);
    meter_.saw_requests(bytes, [this](const auto& request) { return zeros_->is_told(request); });
    zeros_->saw_requests(bytes);
}

void Receiver::keep_record() {
    const auto journal = [this]() -> Result<state::Journal> {
        GC_TRY(std::string id, peer::public_id(token_));
        GC_TRY(const pid_t qemu, destination_->pid());
        return state::keep({.id = std::move(id),
                            .role = state::Role::destination,
                            .gcctl = {},
                            .qmp = options_.qmp,
                            .domain = destination_->domain(),
                            .qemu = {},
                            .peer = source_,
                            .arguments = options_.arguments,
                            .capabilities = {},
                            .parameters = {}},
                           qemu);
    }();
    if (journal)
        journal_ = *journal;
    else
        print_best_effort(stderr,
                          "gcctl: warning: no record of the migration: {}; 'gcctl status' "
                          "will not show it\n",
                          journal.error().message);
}

/// QEMU recognises its main channel by the stream's header, which must arrive before the other
/// channel connects.
Result<void> Receiver::on_stream_began() {
    began_ = true;
    if (destination_->has_preempt()) {
        GC_TRY(qemu_urgent_, destination_->connect());
        start_urgent();
    }
    destination_->connected();
    from_qemu_ = std::make_unique<ByteRelay>(qemu_main_, channel(peer::ChannelId::main),
                                             [this](auto bytes) { saw_return_path(bytes); });
    return {};
}

Result<void> Receiver::loop() {
    while (!(completed_ && resumed_)) {
        if (!destination_->has_news()) {
            std::array<pollfd, 6> waits{{{destination_->fd(), POLLIN, 0},
                                         {signals_.fd(), POLLIN, 0},
                                         {source_gone_ ? -1 : control_->fd(), POLLIN, 0},
                                         {notices_.fd(), POLLIN, 0},
                                         {channels_->fd(), POLLIN, 0},
                                         {acceptor_ ? acceptor_->fd() : -1, POLLIN, 0}}};
            (void)poll_until(waits, tick);
        }
        GC_CHECK(on_signals());
        GC_CHECK(on_notices());
        GC_CHECK(on_qemu());
        GC_CHECK(check_refused());
        if (!source_gone_)
            GC_CHECK(on_control());
        GC_CHECK(on_connections());
        take_channels();
        if (!began_ && Clock::now() >= stream_began_by_)
            return fail(ErrorKind::io, "the source did not begin its stream within {} s",
                        stream_timeout.count());
    }
    return {};
}

/// As those of gcctl migrate.
Result<void> Receiver::on_signals() {
    while (const auto signal = signals_.take()) {
        if (*signal == SIGUSR1)
            continue;
        if (committed_ && !channels_->outage()) {
            print_best_effort(stderr,
                              "gcctl: warning: the VM already runs here and its memory is still "
                              "coming: gcctl must run until it is complete\n");
            continue;
        }
        interrupted_ = true;
        return fail(ErrorKind::cancelled, "interrupted");
    }
    return {};
}

Result<void> Receiver::on_notices() {
    while (const auto notice = notices_.take())
        GC_CHECK(std::visit(Overloaded{[this](const StreamBegan&) { return on_stream_began(); },
                                       [this](const StreamBroke& broke) -> Result<void> {
                                           // QEMU has seen the end of its stream and will say what
                                           // it makes of it.
                                           stream_error_ = broke.error.message;
                                           return {};
                                       },
                                       [this](const StateGiven&) -> Result<void> {
                                           state_given_ = true;
                                           check_at_ = Clock::now() + tick;
                                           return {};
                                       }},
                            *notice));
    return {};
}

Result<void> Receiver::on_control() {
    auto message = control_->receive(0ms);
    if (!message) {
        if (!committed_)
            return Unexpected(message.error());
        // The VM runs here, and its pages may still arrive on the other channels.
        source_gone_ = true;
        if (message.error().kind == ErrorKind::protocol)
            print_best_effort(stderr, "gcctl: the control connection was closed: {}\n",
                              message.error().message);
        control_->close();
        return {};
    }
    return *message ? on_message(**message) : Result<void>{};
}

Result<void> Receiver::on_message(const peer::Message& message) {
    if (const auto* abandon = std::get_if<peer::Abandon>(&message)) {
        abandoned_ = true;
        return fail(ErrorKind::cancelled, "the source keeps the VM: {}", abandon->reason);
    }
    if (const auto* wanted = std::get_if<peer::Commit>(&message))
        return commit(wanted->run);
    return {};
}

Result<void> Receiver::hear_source() {
    if (!control_ || committed_)
        return {};
    auto message = control_->receive(hear_timeout);
    return message && *message ? on_message(**message) : Result<void>{};
}

Result<void> Receiver::on_connections() {
    using Change = peer::Channels::Change;
    const Change change = channels_->update();
    if (change == Change::lost) {
        const std::string cause = channels_->cause().message;
        say("connection-lost",
            fmt::format("connection lost, waiting for the source to connect again: {}", cause),
            {{"cause", cause}});
    } else if (change == Change::back) {
        const double seconds = std::chrono::duration<double>(channels_->last_outage()).count();
        say("connection-back", fmt::format("connection back after {:.1f} s", seconds),
            {{"seconds", seconds}});
    }
    if (committed_ && channels_->gone_for() >= options_.reconnect_limit)
        return fail(ErrorKind::io,
                    "the source's gcctl has ended ({}); see --reconnect-limit. The VM's missing "
                    "pages are still at the source: do not end the source QEMU",
                    channels_->cause().message);
    if (committed_ || channels_->outage().value_or(0s) < options_.reconnect_limit)
        return {};
    return fail(ErrorKind::io,
                "the source did not connect again within {} ms; see "
                "--reconnect-limit ({})",
                options_.reconnect_limit.count(), channels_->cause().message);
}

void Receiver::await_told() {
    const auto limit = interrupted_ ? 0ms : options_.reconnect_limit;
    const auto told = [this, limit](peer::ChannelId id) {
        for (;;) {
            const auto taken = channel(id).wait_taken(tick);
            if (!taken || *taken)
                return true;  // or the source has ended
            (void)channels_->update();
            take_channels();
            if (abandoned_ && channels_->gone_for() >= abandoned_limit)
                return true;  // it knew
            if (channels_->outage() && *channels_->outage() >= limit)
                return false;
        }
    };
    // QEMU's last word is on main, which a source that has given up does not read.
    if ((!abandoned_ && !told(peer::ChannelId::main)) || !told(peer::ChannelId::control))
        print_best_effort(stderr,
                          "gcctl: warning: the source was not told how the migration ended: it did "
                          "not connect again within {} ms ({})\n",
                          limit.count(), channels_->cause().message);
}

Result<void> Receiver::commit(bool run) {
    // Before the VM can run: a record in an earlier phase is proof that it did not.
    state::set(journal_, state::Phase::committed, run);
    committed_ = true;
    if (guardian_)
        guardian_->dismiss();
    // From here on this process cannot say any more that the VM never ran. A manager's QEMU shows
    // that it did not.
    if (!destination_->managed())
        refusal_->destroy();
    if (!run) {
        report_resumed("the VM has arrived, paused as it was at the source");
        return {};
    }
    start_mirror();
    start_delivery();
    GC_CHECK(destination_->resume());
    report_running();
    return {};
}

Result<void> Receiver::on_qemu() {
    for (;;) {
        auto news = destination_->next_news();
        if (!news && destination_->managed())
            GC_CHECK(hear_source());
        if (!news && to_qemu_main_ && !committed_)
            return fail(ErrorKind::unsupported,
                        "the destination QEMU did not accept the VM ({}); {}", news.error().message,
                        destination_->output().hint());
        if (!news)
            return fail(ErrorKind::unsupported, "the destination QEMU ended ({}); {}",
                        news.error().message, destination_->output().hint());
        if (!*news)
            return {};
        if ((*news)->what == DestinationNews::What::resumed) {
            runs_ = committed_ || destination_->managed();
            report_running();
        } else {
            GC_CHECK(on_status((*news)->status));
        }
    }
}

/// A manager may have started the VM before the commit was read.
void Receiver::report_running() {
    if (runs_ && committed_ && !resumed_)
        report_resumed("the VM runs here");
}

Result<void> Receiver::on_status(const std::string& status) {
    // No QMP command here: QEMU's main loop may be waiting for a page, and this loop must not
    // block.
    const std::string cause = stream_error_.empty() ? "" : fmt::format(" ({})", stream_error_);
    status_ = status;
    if (status == "failed" || status == "cancelled") {
        // It has failed, so its main loop waits for nothing.
        const std::string error = destination_->error();
        if (error.empty())
            return fail(ErrorKind::unsupported, "the destination QEMU's migration was {}{}; {}",
                        status, cause, destination_->output().hint());
        if (hangs_ > 0)  // check_refused() ended the stream, of which this tells
            return fail(ErrorKind::unsupported,
                        "the destination QEMU refused the device state; compare the devices of "
                        "both command lines (QEMU's own reason is lost; it says: {}; {})",
                        error, destination_->output().hint());
        const std::string written = destination_->output().text();
        return fail(ErrorKind::unsupported, "the destination QEMU's migration was {}{}: {}{}",
                    status, cause, error,
                    written.empty() ? "" : "; " + destination_->output().hint());
    }
    if (status == "postcopy-paused")
        return fail(ErrorKind::io, "the connection to the source broke{}{}", cause,
                    committed_ ? "; the VM's missing pages are still at the source: do not end the "
                                 "source QEMU"
                               : "");
    completed_ = status == "completed";
    // Its manager has not said that it runs: it was paused on its way.
    if (completed_ && destination_->managed() && committed_ && !resumed_)
        report_resumed("the VM has arrived");
    return {};
}

Result<void> Receiver::check_refused() {
    if (committed_ || status_ != "postcopy-device" || Clock::now() < check_at_)
        return {};
    check_at_ = Clock::now() + tick;
    hangs_ = destination_->hangs() ? hangs_ + 1 : 0;
    if (hangs_ < 2 || status_ != "postcopy-device")
        return {};
    if (hangs_ > max_hangs)
        return fail(ErrorKind::unsupported,
                    "the destination QEMU neither accepted nor refused the device state; {}",
                    destination_->output().hint());
    // The end of the stream makes it fail, and say why.
    qemu_main_.end_writing();
    return {};
}

/// The VM is complete here: nothing that fails now matters to it.
void Receiver::finish() {
    // QEMU reports "completed" a moment before it sends SHUT to the source and closes the
    // connection (process_incoming_migration_bh and migration_incoming_state_destroy in
    // migration/migration.c, 7.2).
    (void)from_qemu_->wait_end(shut_timeout);
    state::finish(journal_);
    say("completed", "completed: the whole VM has arrived");
    if (!source_gone_)
        (void)control_->send(peer::Completed{.demand = meter_.result().report(),
                                             .problem = meter_.problem(),
                                             .qemu = destination_->postcopy_figures(),
                                             .delivered = delivered()});
    measure();
}

/// The VM has arrived. A failed measurement does not fail the migration.
void Receiver::measure() {
    if (!touches_)
        return;
    Result<void> done = wait_measured();
    if (done)
        done = report_measured();
    if (done)
        return;
    print_best_effort(stderr, "gcctl: the VM has arrived, but could not be measured: {}\n",
                      done.error().message);
    (void)control_->send(peer::Measured{.problem = done.error().message});
}

Result<void> Receiver::wait_measured() {
    const Deadline deadline(resumed_at_ + *options_.measure);
    // Without POLLIN: only the end of QEMU matters.
    std::array<pollfd, 1> waits{{{touches_->fd(), 0, 0}}};
    while (!deadline.expired()) {
        GC_CHECK(poll_until(waits, deadline));
        if ((waits[0].revents & POLLHUP) != 0)
            return fail(ErrorKind::io, "the destination QEMU ended");
    }
    return {};
}

Result<void> Receiver::report_measured() {
    const double time_ms = in_ms(Clock::now() - resumed_at_);
    GC_TRY(TouchedSet set, touches_->touched());
    for (const auto& [block, offset] : meter_.asked())
        set.ask(block, offset);
    GC_TRY(const std::uint64_t unresolved, touches_->unresolved());
    for (const measure::Touched& touched : set.result())
        for (const peer::Touched& message : peer::split(touched))
            GC_CHECK(control_->send(message));
    say("measured",
        fmt::format("measured for {:.1f} s: {} pages touched, {} of them requested", time_ms / 1000,
                    set.touched(), set.asked()),
        {{"touched", set.touched()}, {"asked", set.asked()}});
    return control_->send(
        peer::Measured{.time_ms = time_ms, .unresolved = unresolved, .problem = ""});
}

void Receiver::report_resumed(std::string_view text) {
    refusal_->destroy();
    resumed_ = true;
    resumed_at_ = Clock::now();
    state::set(journal_, state::Phase::running);
    if (zeros_)
        zeros_->begin();
    say("resumed", text);
    if (!control_->send(peer::Resumed{}))
        source_gone_ = true;
}

Error Receiver::lost(Error error) {
    if (destination_->managed() && !resumed_ && never_ran())
        return refused(std::move(error));
    if (committed_) {
        (void)control_->send(peer::Failed{error.message});
        return {ErrorKind::needs_operator,
                fmt::format("after the VM was taken over: {}; {}", error.message,
                            destination_->how_to_continue())};
    }
    // A refusal lets the source continue, so first make sure that this copy never runs.
    if (destination_->managed())
        return lost_managed(std::move(error));
    if (auto ended = destination_->end(); !ended)
        return wrap(ended.error(), error.message).value();
    (void)control_->send(peer::Refused{.reason = error.message, .proof = refusal_->proof()});
    error.message += "; the VM did not run here, and the destination QEMU was ended";
    if (error.kind == ErrorKind::cancelled && !interrupted_) {
        state::finish(journal_);  // the source has said that it keeps the VM
    } else {
        set_never_ran(error);
    }
    if (error.kind != ErrorKind::cancelled)
        error.kind = ErrorKind::io;  // others mean that nothing was touched
    return error;
}

/// Of a managed VM that was given to QEMU. Ends QEMU's stream.
bool Receiver::never_ran() {
    if (!from_qemu_ || !(state_given_ || committed_))
        return false;
    qemu_main_.end_writing();
    return destination_->ended_without_state(*from_qemu_);
}

/// Records that the VM never ran here, and adds what to type at the source to the error.
void Receiver::set_never_ran(Error& error) {
    if (!journal_)
        return;
    state::set(journal_, state::Phase::never_ran);
    error.message += "; if the VM stands still at the source, type there: " +
                     state::take_back_at_source(journal_->record());
}

/// Its manager has lost the VM here, and cannot resume it at the source.
Error Receiver::refused(Error error) {
    (void)control_->send(peer::Refused{.reason = error.message, .proof = refusal_->proof()});
    error.message += "; the VM did not run here, and the destination QEMU has ended";
    set_never_ran(error);
    if (error.kind != ErrorKind::cancelled)
        error.kind = ErrorKind::io;
    return error;
}

/// The end of its stream makes QEMU give up, and its manager with it. That the VM never ran here is
/// not for this process to say.
Error Receiver::lost_managed(Error error) {
    (void)control_->send(peer::Refused{.reason = error.message, .proof = {}});
    if (qemu_main_)
        qemu_main_.shut_down();
    state::finish(journal_);
    if (error.kind != ErrorKind::cancelled)
        error.kind = ErrorKind::io;
    error.message += "; libvirt ends its copy of the VM here";
    return error;
}

void Receiver::say(std::string_view event, std::string_view text) const {
    say(event, text, json::object());
}

void Receiver::say(std::string_view event, std::string_view text, json fields) const {
    fields["event"] = event;
    if (security_.protection == peer::Protection::insecure)
        fields["insecure"] = true;
    if (options_.json)
        print_best_effort(stdout, "{}\n", fields.dump());
    else if (!options_.quiet)
        print_best_effort(stdout, "{}\n", text);
}

}  // namespace gc::receive
