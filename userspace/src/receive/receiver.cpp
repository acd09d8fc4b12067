// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive/receiver.h"
#include "qmp/event.h"

#include "qmp/migration.h"
#include "report/report.h"
#include "util/poll.h"
#include "util/print.h"

#include <array>
#include <nlohmann/json.hpp>

namespace gc::receive {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto hello_timeout = 10s;
constexpr auto tick = 250ms;
constexpr auto shut_timeout = 5s;
constexpr std::size_t file_header_bytes = 8;

struct Arrival {
    UniqueFd fd;
    peer::Hello hello;
};

Result<Arrival> accept_channel(int listener, std::chrono::milliseconds timeout) {
    GC_TRY(UniqueFd fd, accept_one(listener, timeout));
    GC_TRY(peer::Hello hello, peer::receive_hello(fd.get(), hello_timeout));
    return Arrival{std::move(fd), std::move(hello)};
}

/// Waits for a source. Stray connections (a port scan, a health check) are rejected.
Result<Arrival> accept_control(int listener, const Options& options) {
    const Deadline deadline = options.wait.count() == 0 ? Deadline::never() : options.wait;
    for (;;) {
        GC_TRY(const bool ready, wait_readable(listener, deadline));
        if (!ready)
            return fail(ErrorKind::io, "no source connected within {} ms", options.wait.count());
        auto arrival = accept_channel(listener, 1s);
        if (arrival && arrival->hello.channel == peer::Channel::control)
            return std::move(*arrival);
        print_best_effort(stderr, "gcctl: a connection was rejected: {}\n",
                          arrival ? "it does not start with the control channel"
                                  : arrival.error().message);
    }
}

}  // namespace

Result<void> Receiver::run(const Options& options) {
    GC_TRY(DestinationQemu destination, DestinationQemu::prepare(options.qmp));
    std::optional<TouchMeter> touches;
    if (options.measure) {
        GC_TRY(touches, TouchMeter::start(destination.qmp()));
    }
    GC_CHECK(destination.listen());
    GC_TRY(const UniqueFd listener, tcp_listen(options.listen));
    GC_TRY(const std::uint16_t port, local_port(listener.get()));
    if (options.json)
        print_best_effort(stdout, "{}\n", json{{"event", "listening"}, {"port", port}}.dump());
    else if (!options.quiet)
        print_best_effort(stdout, "waiting for a VM on {}\n",
                          Endpoint{options.listen.host, std::to_string(port)}.str());

    GC_TRY(Arrival control, accept_control(listener.get(), options));
    Receiver receiver(options, std::move(destination), peer::Control(std::move(control.fd)),
                      control.hello.token, std::move(touches));
    json ready{{"qemu", receiver.destination_.version()},
               {"preempt", receiver.destination_.has_preempt()}};
    if (options.measure)
        ready["measure_ms"] = options.measure->count();
    GC_CHECK(receiver.control_.send("ready", std::move(ready)));
    if (auto open = receiver.accept_channels(listener.get()); !open)
        return receiver.lost_before_commit(open.error());
    GC_CHECK(receiver.loop());
    receiver.measure();
    return {};
}

Result<void> Receiver::accept_channels(int listener) {
    const bool preempt = destination_.has_preempt();
    // The source runs its checks and starts its guide before it opens the channels.
    constexpr auto channels_timeout = 120s;
    while (!tcp_main_ || !tcp_bulk_ || (preempt && !tcp_urgent_)) {
        std::array<pollfd, 2> waits{{{listener, POLLIN, 0}, {control_.fd(), POLLIN, 0}}};
        GC_TRY(const bool ready, poll_until(waits, channels_timeout));
        if (!ready)
            return fail(ErrorKind::io, "the source did not open its channels within {} s",
                        channels_timeout.count());
        if (waits[1].revents != 0) {
            GC_TRY(const auto message, control_.receive(0ms));
            if (message)
                return fail(ErrorKind::cancelled, "the source gave up: {}",
                            message->value("reason", "no reason given"));
            continue;
        }
        GC_TRY(Arrival arrival, accept_channel(listener, 1s));
        if (arrival.hello.token != token_)
            continue;  // belongs to another migration: the connection is closed
        (arrival.hello.channel == peer::Channel::main   ? tcp_main_
         : arrival.hello.channel == peer::Channel::bulk ? tcp_bulk_
                                                        : tcp_urgent_) = std::move(arrival.fd);
    }
    return start_relays();
}

Result<void> Receiver::start_relays() {
    GC_TRY(unix_main_, destination_.connect());
    to_qemu_main_ = std::make_unique<StreamMerger>(
        tcp_main_.get(), tcp_bulk_.get(), unix_main_.get(),
        MergerTaps{[this] { meter_.saw_switch_over(); },
                   [this](auto bytes) { meter_.saw_sections(bytes); }});
    // QEMU recognises its main channel by the stream's header, which must arrive before the other
    // channel connects.
    GC_CHECK(to_qemu_main_->begin(file_header_bytes));
    if (destination_.has_preempt()) {
        GC_TRY(unix_urgent_, destination_.connect());
        to_qemu_urgent_ =
            std::make_unique<ByteRelay>(tcp_urgent_.get(), unix_urgent_.get(),
                                        [this](auto bytes) { meter_.saw_urgent(bytes); });
    }
    from_qemu_ = std::make_unique<ByteRelay>(unix_main_.get(), tcp_main_.get(),
                                             [this](auto bytes) { meter_.saw_requests(bytes); });
    to_qemu_main_->start();
    return {};
}

Result<void> Receiver::loop() {
    while (!(completed_ && resumed_)) {
        if (!destination_.qmp().has_event()) {
            std::array<pollfd, 2> waits{{{destination_.qmp().fd(), POLLIN, 0},
                                         {source_gone_ ? -1 : control_.fd(), POLLIN, 0}}};
            (void)poll_until(waits, tick);
        }
        GC_CHECK(on_qmp());
        if (!source_gone_)
            GC_CHECK(on_control());
    }
    // QEMU reports "completed" a moment before it sends SHUT to the source and closes the
    // connection (process_incoming_migration_bh and migration_incoming_state_destroy in
    // migration/migration.c, 7.2).
    (void)from_qemu_->wait_end(shut_timeout);
    json fields{{"demand", json(to_json(meter_.result().report()))}};
    if (const std::string problem = meter_.problem(); !problem.empty())
        fields["problem"] = problem;
    say("completed", "completed: the whole VM has arrived");
    (void)control_.send("completed", fields);  // best effort: the VM is complete either way
    return {};
}

Result<void> Receiver::on_control() {
    auto message = control_.receive(0ms);
    if (!message) {
        if (!committed_)
            return lost_before_commit(message.error());
        // The VM runs here, and its pages may still arrive on the other connections.
        source_gone_ = true;
        return {};
    }
    if (!*message)
        return {};
    const std::string type = (*message)->at("type");
    if (type == "abandon" && !committed_)
        return lost_before_commit(Error{
            ErrorKind::cancelled, fmt::format("the source keeps the VM: {}",
                                              (*message)->value("reason", "no reason given"))});
    return type == "commit" ? commit((*message)->value("run", true)) : Result<void>{};
}

Result<void> Receiver::commit(bool run) {
    committed_ = true;
    if (!run) {
        report_resumed("the VM has arrived, paused as it was at the source");
        return {};
    }
    if (auto resumed = destination_.resume(); !resumed)
        return lost_after_commit(resumed.error());
    return {};
}

Result<void> Receiver::on_qmp() {
    for (;;) {
        auto event = destination_.qmp().next_event(0ms);
        if (!event) {
            if (committed_)
                return lost_after_commit(event.error());
            return lost_before_commit(Error{
                ErrorKind::unsupported,
                fmt::format("the destination QEMU did not accept the VM ({}); see its own output",
                            event.error().message)});
        }
        if (!*event)
            return {};
        if ((*event)->name == "RESUME" && committed_)
            report_resumed("the VM runs here");
        if ((*event)->name == "MIGRATION")
            GC_CHECK(on_status((*event)->data.value("status", "")));
    }
}

Result<void> Receiver::on_status(const std::string& status) {
    // No QMP command here: QEMU's main loop may be waiting for a page, and this loop must not
    // block.
    if (status == "failed" || status == "cancelled") {
        const Error error{
            ErrorKind::unsupported,
            fmt::format("the destination QEMU's migration was {}; see its own output", status)};
        return committed_ ? lost_after_commit(error) : lost_before_commit(error);
    }
    if (status == "postcopy-paused")
        return committed_
                   ? lost_after_commit(
                         Error{ErrorKind::io,
                               "the connection to the source broke; the VM's missing pages are "
                               "still at the source: do not end the source QEMU"})
                   : lost_before_commit(Error{ErrorKind::io, "the connection to the source broke"});
    completed_ = status == "completed";
    return {};
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
    (void)control_.send("measured", {{"problem", done.error().message}});
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
    const auto time = std::chrono::duration<double, std::milli>(Clock::now() - resumed_at_);
    GC_TRY(TouchedSet set, touches_->touched());
    for (const auto& [block, offset] : meter_.asked())
        set.ask(block, offset);
    GC_TRY(const std::uint64_t unresolved, touches_->unresolved());
    for (const measure::Touched& touched : set.result())
        for (json& message : measure::to_messages(touched))
            GC_CHECK(control_.send("touched", std::move(message)));
    say("measured",
        fmt::format("measured for {:.1f} s: {} pages touched, {} of them requested",
                    time.count() / 1000, set.touched(), set.asked()),
        {{"touched", set.touched()}, {"asked", set.asked()}});
    return control_.send("measured", {{"time_ms", time.count()}, {"unresolved", unresolved}});
}

void Receiver::report_resumed(std::string_view text) {
    resumed_ = true;
    resumed_at_ = Clock::now();
    say("resumed", text);
    if (!control_.send("resumed"))
        source_gone_ = true;
}

Unexpected Receiver::lost_before_commit(Error error) {
    // "refused" lets the source continue, so first make sure that this copy never runs.
    if (auto ended = destination_.end(); !ended)
        return wrap(ended.error(), error.message);
    (void)control_.send("refused", {{"reason", error.message}});
    error.message += "; the VM did not run here, and the destination QEMU was ended";
    return Unexpected(std::move(error));
}

Unexpected Receiver::lost_after_commit(const Error& error) {
    (void)control_.send("failed", {{"reason", error.message}});
    return fail(ErrorKind::after_commit, "after the VM was taken over: {}", error.message);
}

void Receiver::say(std::string_view event, std::string_view text) const {
    say(event, text, json::object());
}

void Receiver::say(std::string_view event, std::string_view text, json fields) const {
    fields["event"] = event;
    if (options_.json)
        print_best_effort(stdout, "{}\n", fields.dump());
    else if (!options_.quiet)
        print_best_effort(stdout, "{}\n", text);
}

}  // namespace gc::receive
