// SPDX-License-Identifier: GPL-2.0-or-later
#include "recover/destination.h"

#include "peer/message.h"
#include "recover/incoming_qemu.h"
#include "recover/take_over.h"
#include "util/guarded.h"
#include "util/poll.h"
#include "util/signals.h"

#include <array>
#include <csignal>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gc::recover {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto greet_timeout = 5s;
/// A source that is silent for so long may be replaced by the next one that connects.
constexpr auto replace_after = 2s;
/// For the source to come back and hear that everything has arrived.
constexpr auto linger = 60s;
/// QEMU breaks its own connection when it cannot place a page.
constexpr unsigned max_handshakes = 5;

class DestinationRecovery {
  public:
    DestinationRecovery(const Options& options, Signals signals, IncomingQemu incoming)
        : options_(options), signals_(std::move(signals)), incoming_(std::move(incoming)) {}

    Result<void> run() {
        GC_TRY(taken_,
               take_over(state::Role::destination, incoming_.process(), options_,
                         "the VM was not handed over and has not run here: end the destination "
                         "QEMU, then run 'gcctl status' at the source"));
        GC_TRY(listener_, tcp_listen(options_.address));
        GC_TRY(const std::uint16_t port, local_port(listener_.get()));
        if (!incoming_.completed())
            GC_CHECK(again(incoming_.shake_hands()));
        GC_CHECK(start_vm());
        options_.voice.say(
            "listening",
            fmt::format("{} pages are missing here; waiting for 'gcctl recover migrate' on {}",
                        incoming_.missing(),
                        Endpoint{options_.address.host, std::to_string(port)}.str()),
            {{"address", options_.address.host},
             {"port", port},
             {"missing", incoming_.missing()},
             {"id", taken_.id()}});
        return again(serve());
    }

  private:
    /// Carries out the decision that the VM runs here, if it was only written down.
    Result<void> start_vm() {
        const auto& record = taken_.record;
        if (!record || record->phase != state::Phase::committed || !record->runs)
            return {};
        GC_TRY(const std::string state, incoming_.run_state());
        if (state != "paused")
            return {};
        started_ = true;
        return incoming_.start_vm();
    }

    Result<void> serve() {
        while (!done_) {
            GC_CHECK(wait());
            if (link_ && (Clock::now() - said_ >= alive_interval)) {
                said_ = Clock::now();
                check(link_->send(FrameKind::alive));
            }
            if (link_)
                check(read_source());
            if (!incoming_.completed())
                GC_CHECK(read_qemu());
            if (link_ && Clock::now() - heard_ > dead_after)
                lose(fmt::format("it was silent for {} s", dead_after.count()));
            if (incoming_.completed())
                GC_CHECK(tell_completed());
        }
        return {};
    }

    Result<void> wait() {
        const bool open = !link_ || Clock::now() - heard_ > replace_after;
        std::array<pollfd, 5> waits{
            {{signals_.fd(), POLLIN, 0},
             {open ? listener_.get() : -1, POLLIN, 0},
             {link_ ? link_->fd() : -1, POLLIN, 0},
             {incoming_.completed() ? -1 : incoming_.fd(), POLLIN, 0},
             {options_.ends_with_stdin && !incoming_.completed() ? STDIN_FILENO : -1, POLLIN, 0}}};
        (void)poll_until(waits, link_ && link_->pending() ? Deadline(0ms) : Deadline(500ms));
        if (const auto signal = signals_.take(); signal && *signal != SIGUSR1)
            return fail(ErrorKind::cancelled, "interrupted");
        // The next 'gcctl recover migrate' starts another one, which needs QEMU's monitor.
        if (waits[4].revents != 0)
            return fail(ErrorKind::cancelled,
                        "standard input ended, and so did the source's gcctl");
        if (waits[1].revents != 0)
            if (const auto greeted = guarded([this] { return accept(); }); !greeted)
                options_.voice.warn(
                    fmt::format("a connection was rejected: {}", greeted.error().message));
        return {};
    }

    void check_started() {
        const auto state = started_ ? incoming_.run_state() : Result<std::string>("running");
        if (!state || *state != "running")
            options_.voice.warn(
                fmt::format("QEMU was told to run the VM, but {}; type 'cont' on its monitor",
                            state ? fmt::format("the VM is '{}'", *state) : state.error().message));
    }

    // ---- the source

    Result<void> accept() {
        GC_TRY(AcceptedSocket accepted, accept_peer(listener_.get()));
        const Deadline deadline(greet_timeout);
        peer::Connection connection;
        if (const auto& credentials = options_.listening.credentials) {
            GC_TRY(tls::Session session,
                   tls::Session::server(accepted.fd.get(), *credentials, {}, deadline));
            connection = peer::Connection(std::move(accepted.fd), std::move(session));
        } else {
            connection = peer::Connection(std::move(accepted.fd));
        }
        auto link = std::make_unique<Link>(std::move(connection));
        GC_TRY(const std::string line, link->receive_line(deadline));
        auto greeted = greet(*link, line, deadline);
        if (!greeted)
            return greeted;
        link_ = std::move(link);
        heard_ = said_ = Clock::now();
        options_.voice.say("connected",
                           fmt::format("the source at {} has connected", accepted.from),
                           {{"missing", incoming_.missing()}});
        for (const Request& request : outstanding_)
            check(link_->send(FrameKind::request, encode(request)));
        return {};
    }

    /// Tells the source what this end has.
    Result<void> greet(Link& link, const std::string& line, Deadline deadline) {
        const auto id = decode_hello(line);
        if (!id) {
            // It is the line of a `gcctl migrate`, which understands this.
            (void)link.send_line(rejection(id.error().message));
            return Unexpected(id.error());
        }
        GC_TRY(const auto frame, link.receive(deadline));
        if (!frame || frame->kind != FrameKind::description)
            return fail(ErrorKind::protocol, "expected a description");
        GC_CHECK(decode_description(frame->body));
        const Description here{taken_.id(), incoming_.uuid(), incoming_.completed(),
                               incoming_.blocks()};
        GC_CHECK(link.send(FrameKind::description, encode(here)));
        if (incoming_.completed())
            return {};
        for (std::size_t block = 0; block < incoming_.blocks().size(); ++block) {
            std::vector<std::byte> body;
            stream::append_be16(body, static_cast<std::uint16_t>(block));
            stream::append(body, incoming_.received()[block].bits());
            GC_CHECK(link.send(FrameKind::bitmap, body));
        }
        return {};
    }

    static std::string rejection(const std::string& reason) {
        std::string line = peer::encode(peer::Refused{.reason = reason, .proof = {}});
        line.pop_back();
        return line;
    }

    /// A connection that fails is of no consequence.
    void check(const Result<void>& done) {
        if (!done)
            lose(done.error().message);
    }

    void lose(const std::string& reason) {
        if (!link_)
            return;
        link_.reset();
        if (!incoming_.completed())
            options_.voice.warn(
                fmt::format("the connection to the source was lost: {}; waiting for it", reason));
    }

    Result<void> read_source() {
        // A few at a time: QEMU's requests come in between.
        for (int count = 0; count < 8 && link_ && !incoming_.completed(); ++count) {
            GC_TRY(const auto frame, link_->receive(0ms));
            if (!frame)
                return {};
            heard_ = Clock::now();
            GC_CHECK(take(*frame));
        }
        return {};
    }

    Result<void> take(const Frame& frame) {
        switch (frame.kind) {
        case FrameKind::pages: {
            PagesHead head;
            GC_TRY(const auto pages, decode_pages(frame.body, head));
            if (auto given = incoming_.give(head, pages); !given) {
                if (given.error().kind == ErrorKind::protocol)
                    return given;
                broken_ = true;  // read_qemu() sees to it
            }
            return {};
        }
        case FrameKind::all_sent:
            if (incoming_.missing() > 0)
                return fail(ErrorKind::protocol,
                            "the source says that all was sent, but {} pages are missing",
                            incoming_.missing());
            all_sent_ = true;
            return {};
        case FrameKind::refused:
            return fail(ErrorKind::unsupported, "it refused: {}", frame.text());
        case FrameKind::alive:
            return {};
        default:
            return fail(ErrorKind::protocol, "unexpected frame of kind {}",
                        static_cast<unsigned>(frame.kind));
        }
    }

    // ---- QEMU

    Result<void> read_qemu() {
        if (all_sent_ && !broken_) {
            const auto finished = incoming_.finish();
            if (finished)
                return {};
            broken_ = true;
        }
        if (!broken_) {
            auto requests = incoming_.take_requests();
            if (!requests) {
                broken_ = true;
            } else {
                for (const Request& request : *requests)
                    ask(request);
            }
        }
        return broken_ ? recover_again() : Result<void>{};
    }

    void ask(const Request& request) {
        std::erase_if(outstanding_, [this](const Request& old) {
            return incoming_.received()[old.block].has(old.first);
        });
        outstanding_.push_back(request);
        if (link_)
            check(link_->send(FrameKind::request, encode(request)));
    }

    /// QEMU has closed its connection, and says itself which pages it has placed.
    Result<void> recover_again() {
        if (++handshakes_ > max_handshakes)
            return fail(ErrorKind::io, "the destination QEMU broke the connection {} times",
                        handshakes_);
        options_.voice.warn("the destination QEMU closed its connection; recovering it again");
        broken_ = all_sent_ = false;
        outstanding_.clear();
        GC_CHECK(incoming_.shake_hands());
        link_.reset();  // the next connection begins with the new bitmaps
        return {};
    }

    // ---- the end

    Result<void> tell_completed() {
        if (completed_since_ == Clock::time_point{}) {
            completed_since_ = Clock::now();
            state::finish(taken_.journal);
            options_.voice.say("completed", "completed: the whole VM has arrived");
            check_started();
        }
        if (link_) {
            if (link_->send(FrameKind::completed)) {
                // The source closes the connection when it has read that.
                while (const auto frame = link_->receive(dead_after))
                    if (!*frame)
                        break;
                done_ = true;
            }
            link_.reset();
        }
        done_ = done_ || Clock::now() - completed_since_ > linger;
        return {};
    }

    Result<void> again(Result<void> done) const {
        if (done)
            return done;
        Error error = done.error();
        error.kind = ErrorKind::needs_operator;
        error.message +=
            incoming_.process().alive()
                ? "; nothing is lost: run the same command again. Do not end the destination QEMU"
                : "; the destination QEMU has ended, and what the VM did here is lost with it";
        return Unexpected(std::move(error));
    }

    const Options& options_;
    Signals signals_;
    IncomingQemu incoming_;
    TakenOver taken_;
    UniqueFd listener_;
    bool started_ = false;  ///< QEMU was told to run the VM
    std::unique_ptr<Link> link_;
    Clock::time_point heard_{};
    Clock::time_point said_{};
    std::vector<Request> outstanding_;  ///< not yet answered, for the next connection
    bool all_sent_ = false;
    bool broken_ = false;
    unsigned handshakes_ = 0;
    Clock::time_point completed_since_{};
    bool done_ = false;
};

}  // namespace

Result<void> recover_destination(const Options& options) {
    GC_TRY(Signals signals, Signals::block());
    GC_TRY(IncomingQemu incoming, IncomingQemu::open(options.qmp));
    DestinationRecovery recovery(options, std::move(signals), std::move(incoming));
    return recovery.run();
}

}  // namespace gc::recover
