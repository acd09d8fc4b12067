// SPDX-License-Identifier: GPL-2.0-or-later
#include "synthetic_destination.h"
#include "../../userspace/tests/stream/append.h"

#include "peer/frame.h"
#include "peer/hello.h"
#include "stream/package.h"
#include "stream/return_path.h"
#include "util/poll.h"
#include "util/socket.h"

#include <array>
#include <fcntl.h>
#include <sys/socket.h>

namespace gc::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t page_size = stream::target_page;
constexpr auto fetch_timeout = 10s;
/// Control, main, bulk and urgent.
constexpr std::size_t gcctl_channels = 4;
constexpr std::size_t chunk_size = std::size_t{256} * 1024;

std::chrono::milliseconds left(std::chrono::steady_clock::time_point deadline) {
    return std::max(
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()),
        0ms);
}

/// Consumes complete items from the front of the received bytes.
class Parser {
  public:
    explicit Parser(stream::Start start) : reader_(start) {}

    template <typename Handle> Result<void> feed(std::span<const std::byte> bytes, Handle handle) {
        stream::append(buffer_, bytes);
        std::span<const std::byte> input(buffer_);
        for (;;) {
            GC_TRY(const auto item, reader_.next(input));
            if (!item)
                break;
            GC_CHECK(handle(*item));
        }
        buffer_.erase(buffer_.begin(), buffer_.end() - static_cast<std::ptrdiff_t>(input.size()));
        return {};
    }

  private:
    stream::Reader reader_;
    stream::Buffer buffer_;
};

}  // namespace

Result<std::unique_ptr<SyntheticDestination>>
SyntheticDestination::listen(Sender sender, std::string block, std::uint64_t pages,
                             std::optional<tls::Credentials> credentials) {
    std::unique_ptr<SyntheticDestination> made(
        new SyntheticDestination(sender, std::move(block), pages, std::move(credentials)));
    GC_TRY(made->listener_, tcp_listen({"127.0.0.1", "0"}));
    GC_TRY(made->port_, local_port(made->listener_.get()));
    return made;
}

SyntheticDestination::~SyntheticDestination() {
    stopping_ = true;
    if (channels_)
        channels_->shut_down();
    for (std::thread& thread : threads_)
        thread.join();
}

Result<void> SyntheticDestination::accept(std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    GC_CHECK(start(true, deadline));
    return wait_for(ready_, "the device state", deadline);
}

Result<void> SyntheticDestination::accept_precopy(std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    GC_CHECK(start(sender_ == Sender::gcctl, deadline));
    return wait_for(all_here_, "its last page", deadline);
}

Result<void> SyntheticDestination::start(bool urgent, Clock::time_point deadline) {
    GC_CHECK(take_channels(urgent, deadline));
    const auto run = [this](Result<void> (SyntheticDestination::*body)()) {
        threads_.emplace_back([this, body] {
            if (auto done = (this->*body)(); !done && !stopping_) {
                const std::lock_guard lock(problem_mutex_);
                if (!problem_)
                    problem_ = done.error();
            }
        });
    };
    run(&SyntheticDestination::read_main);
    if (urgent)
        run(&SyntheticDestination::read_urgent);
    if (sender_ == Sender::gcctl) {
        run(&SyntheticDestination::read_bulk);
        run(&SyntheticDestination::read_control);
    }
    return {};
}

Result<void> SyntheticDestination::take_channels(bool urgent, Clock::time_point deadline) {
    if (sender_ == Sender::gcctl)
        return greet_gcctl(deadline);
    GC_TRY(channels_, peer::Channels::raw(peer::End::destination));
    // Both connect at the same time. Only the main channel starts with the stream's header.
    for (int i = 0; i < (urgent ? 2 : 1); ++i) {
        GC_TRY(peer::Connection connection, accept_connection(deadline));
        GC_TRY(const bool talks,
               connection.pending() ? true : wait_readable(connection.fd(), 200ms));
        const bool is_main = talks && !channels_->opened(peer::ChannelId::main);
        GC_CHECK(channels_->attach(is_main ? peer::ChannelId::main : peer::ChannelId::urgent,
                                   std::move(connection), left(deadline)));
    }
    if (!channels_->opened(peer::ChannelId::main))
        return fail(ErrorKind::protocol, "none of the source's channels begins a stream");
    return {};
}

Result<peer::Connection> SyntheticDestination::accept_connection(Clock::time_point deadline) {
    GC_TRY(UniqueFd fd, accept_one(listener_.get(), left(deadline)));
    connections_.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!credentials_)
        return peer::Connection(std::move(fd));
    GC_TRY(tls::Session session,
           tls::Session::server(fd.get(), *credentials_,
                                [this](std::string_view identity) { return keys_.find(identity); },
                                Deadline(deadline), {.foreign_peer = sender_ == Sender::qemu}));
    return peer::Connection(std::move(fd), std::move(session));
}

Result<void> SyntheticDestination::greet_gcctl(Clock::time_point deadline) {
    using enum peer::ChannelId;
    GC_TRY(channels_, peer::Channels::create({.end = peer::End::destination, .dial = {}}));
    while (!channels_->opened(main) || !channels_->opened(bulk) || !channels_->opened(urgent))
        GC_CHECK(greet_channel(deadline));
    control_.emplace(channel(control), peer::End::destination, peer::State::prepared);
    control_->opened();
    return {};
}

Result<void> SyntheticDestination::greet_channel(Clock::time_point deadline) {
    GC_TRY(peer::Connection connection, accept_connection(deadline));
    GC_TRY(const peer::Hello hello, peer::receive_hello(connection, left(deadline)));
    if (hello.channel == peer::ChannelId::control && !hello.resume) {
        if (const tls::Session* session = connection.session()) {
            GC_TRY(const peer::ChannelKeys keys, peer::ChannelKeys::of(*session));
            keys_.offer(hello.token, keys);
        }
        GC_CHECK(peer::send_answer(connection, peer::Ready{// It places no zeros by itself.
                                                           .version = peer::zeros_version - 1,
                                                           .qemu = "synthetic",
                                                           .preempt = true,
                                                           .measure = {},
                                                           .seal = {}}));
    }
    return channels_->attach(hello.channel, std::move(connection), left(deadline));
}

void SyntheticDestination::cut() {
    listener_.reset();
    for (const UniqueFd& connection : connections_)
        ::shutdown(connection.get(), SHUT_RDWR);
    connections_.clear();
}

Result<SyntheticDestination::Clock::duration>
SyntheticDestination::restore(std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    back_ = false;
    GC_TRY(listener_, tcp_listen({"127.0.0.1", fmt::format("{}", port_)}));
    const auto begun = Clock::now();
    for (std::size_t back = 0; back < gcctl_channels; ++back)
        if (auto greeted = greet_channel(deadline); !greeted)
            return wrap(greeted.error(),
                        fmt::format("only {} of {} connections came back", back, gcctl_channels));
    GC_CHECK(wait_for(back_, "its next page", deadline));
    return back_at_ - begun;
}

Result<void> SyntheticDestination::wait_for(const std::atomic<bool>& what, std::string_view name,
                                            Clock::time_point deadline) {
    while (!what) {
        {
            const std::lock_guard lock(problem_mutex_);
            if (problem_)
                return Unexpected(*problem_);
        }
        if (Clock::now() > deadline)
            return fail(ErrorKind::io, "the source did not come to {} in time", name);
        std::this_thread::sleep_for(1ms);
    }
    return {};
}

template <typename Take>
Result<void> SyntheticDestination::read_channel(peer::ChannelId id, bool framed, Take take) {
    peer::Channel& channel = this->channel(id);
    std::vector<std::byte> buffer(chunk_size);
    std::size_t in_frame = framed ? 0 : SIZE_MAX;
    for (;;) {
        if (in_frame == 0) {
            peer::FrameHead head;
            GC_TRY(const bool more, peer::read_head(channel, head));
            if (!more)
                return {};
            in_frame = head.size;
            continue;
        }
        const auto room = std::span(buffer).first(std::min(buffer.size(), in_frame));
        GC_TRY(const std::size_t got, channel.read_some(room));
        if (got == 0)
            return {};
        bytes_ += got;
        GC_CHECK(take(room.first(got)));
        if (framed)
            in_frame -= got;
    }
}

Result<void> SyntheticDestination::read_main() {
    Parser parser(stream::Start::header);
    return read_channel(peer::ChannelId::main, sender_ == Sender::gcctl, [&](auto bytes) {
        const auto at = Clock::now();
        return parser.feed(bytes, [&](const stream::Item& item) {
            on_page(item, at);
            return on_main_item(item);
        });
    });
}

Result<void> SyntheticDestination::read_urgent() {
    Parser parser(stream::Start::records);
    return read_channel(peer::ChannelId::urgent, false, [&](auto bytes) {
        const auto at = Clock::now();
        return parser.feed(bytes, [&](const stream::Item& item) -> Result<void> {
            on_page(item, at);
            return {};
        });
    });
}

Result<void> SyntheticDestination::read_bulk() {
    Parser parser(stream::Start::header);
    peer::Channel& bulk = channel(peer::ChannelId::bulk);
    std::vector<std::byte> frame;
    const auto take = [&](std::span<const std::byte> bytes) {
        const auto at = Clock::now();
        return parser.feed(bytes, [&](const stream::Item& item) -> Result<void> {
            on_page(item, at);
            return {};
        });
    };
    for (bool opened = false;;) {
        peer::FrameHead head;
        GC_TRY(const bool more, peer::read_head(bulk, head));
        if (!more)
            return {};
        // It carries nothing before switch-over, so opening_ is complete by then.
        if (!std::exchange(opened, true))
            GC_CHECK(take(opening_));
        frame.resize(head.size);
        GC_TRY(const bool whole, bulk.read_whole(frame));
        if (!whole)
            return {};
        bytes_ += frame.size();
        GC_TRY(const auto parts, peer::parts_of(head.kind, frame));
        for (const auto part : parts)
            GC_CHECK(take(part));
        GC_CHECK(bulk.write(peer::frame_taken));
    }
}

Result<void> SyntheticDestination::read_control() {
    while (!stopping_) {
        if (ended_)
            return control_->send(peer::Completed{});
        GC_TRY(const auto message, control_->receive(5ms));
        if (!message)
            continue;
        if (const auto* abandon = std::get_if<peer::Abandon>(&*message))
            return fail(ErrorKind::io, "gcctl gave up: {}", abandon->reason);
        if (std::holds_alternative<peer::Commit>(*message)) {
            GC_CHECK(control_->send(peer::Resumed{}));
            ready_ = true;
        }
    }
    return {};
}

Result<void> SyntheticDestination::on_main_item(const stream::Item& item) {
    stream::Buffer answer;
    if (const auto* section = std::get_if<stream::SectionHeader>(&item)) {
        if (section->name == stream::ram_section_name)
            ram_section_ = section->id;
    } else if (const auto* list = std::get_if<stream::RamBlockList>(&item)) {
        stream::append_header(opening_);
        stream::append_section_start(opening_, stream::Tag::section_start, ram_section_, "ram", 0,
                                     stream::ram_version);
        stream::append_block_list(opening_, list->total);
        for (const auto& block : list->blocks)
            stream::append_block(opening_, block.name, block.length, {}, {});
        stream::append_end_of_ram(opening_);
        stream::append_section_footer(opening_, ram_section_);
    } else if (const auto* command = std::get_if<stream::Command>(&item)) {
        if (command->code == stream::CommandCode::ping) {
            GC_TRY(const std::uint32_t value, stream::parse_ping(command->payload));
            stream::append_pong(answer, value);
            return say(answer);
        }
    } else if (const auto* package = std::get_if<stream::Package>(&item)) {
        GC_TRY(const auto parts, stream::split_package(package->body));
        stream::append_pong(answer, parts.last_ping);
        GC_CHECK(say(answer));
        if (sender_ == Sender::qemu)
            ready_ = true;
    } else if (std::holds_alternative<stream::EndOfFile>(item)) {
        stream::append_shut(answer, 0);
        GC_CHECK(say(answer));
        ended_ = true;
    }
    return {};
}

void SyntheticDestination::on_page(const stream::Item& item, Clock::time_point at) {
    std::string_view block;
    std::uint64_t offset = 0;
    if (const auto* page = std::get_if<stream::RamPage>(&item)) {
        block = page->block;
        offset = page->offset;
    } else if (const auto* zero = std::get_if<stream::RamZero>(&item)) {
        block = zero->block;
        offset = zero->offset;
    } else {
        return;
    }
    if (block != block_)
        return;
    const std::uint64_t number = offset / page_size;
    if (++received_ == have_.size())
        all_here_ = true;
    have_[number].store(true, std::memory_order_release);
    if (!back_) {
        const std::lock_guard lock(say_mutex_);
        back_at_ = at;
        back_ = true;
    }
    if (awaited_.load() == number) {
        awaited_at_ = at;
        awaited_ = UINT64_MAX;
        arrived_.release();
    }
}

Result<void> SyntheticDestination::say(const stream::Buffer& bytes) {
    const std::lock_guard lock(say_mutex_);
    return channel(peer::ChannelId::main).write(bytes);
}

Result<SyntheticDestination::Clock::duration> SyntheticDestination::fetch(std::uint64_t page) {
    stream::Buffer request;
    stream::append_page_request(request, block_, page * page_size, page_size);
    awaited_ = page;
    const auto begin = Clock::now();
    GC_CHECK(say(request));
    while (!arrived_.try_acquire_for(100ms)) {
        // It arrived by itself before it was awaited: nothing signals that. If it is not awaited
        // any more, on_page() is about to.
        if (has(page) && awaited_.exchange(UINT64_MAX) == page)
            return Clock::duration::zero();
        if (Clock::now() - begin > fetch_timeout)
            return fail(ErrorKind::io, "page {} was requested but did not arrive", page);
    }
    return awaited_at_ - begin;
}

Result<void> SyntheticDestination::wait_end(std::chrono::milliseconds timeout) {
    return wait_for(ended_, "the end of its stream", Clock::now() + timeout);
}

}  // namespace gc::bench
