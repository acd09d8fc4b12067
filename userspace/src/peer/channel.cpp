// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/channel.h"

#include "util/poll.h"
#include "util/socket.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>  // FIONREAD, which SIOCINQ is
#include <unistd.h>
#include <utility>

namespace gc::peer {
namespace {

using namespace std::chrono_literals;

/// Of the silence or idleness that passes between two ticks. A gcctl that was stopped for a while
/// must not take its own absence for the other one's.
constexpr auto max_step = 250ms;
/// For a record that is being sent when the channel is shut down, and for room for the last one.
constexpr auto closing_time = 200ms;

bool readable(const Connection& connection) {
    return connection.pending() || wait_readable(connection.fd(), 0ms).value_or(false);
}

}  // namespace

Result<std::unique_ptr<Channel>> Channel::create(Options options) {
    GC_TRY(Waker arrived, Waker::create());
    GC_TRY(Waker ended_reading, Waker::create());
    std::unique_ptr<Channel> channel(
        new Channel(std::move(options), std::move(arrived), std::move(ended_reading)));
    GC_TRY(channel->quiet_, make_quiet_pipe());
    channel->socket_.reset(::fcntl(channel->quiet_.read.get(), F_DUPFD_CLOEXEC, 0));
    if (!channel->socket_)
        return fail_errno(errno, "duplicate a descriptor");
    if (channel->options_.reads == Reads::thread)
        channel->start_reader();
    return channel;
}

Result<std::unique_ptr<Channel>> Channel::raw(Connection connection) {
    GC_TRY(auto channel, create({}));
    channel->raw_.emplace(std::move(connection));
    return channel;
}

Result<Channel::QuietPipe> Channel::make_quiet_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "pipe");
    return QuietPipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Channel::~Channel() {
    close();
}

// ---- for the owner

Result<void> Channel::attach(Connection connection, Deadline deadline) {
    const auto fresh = std::make_shared<Connection>(std::move(connection));
    std::uint64_t epoch = 0;
    {
        const Lock lock(mutex_);
        // From here on nothing is received on an older connection: received_ stays as it is told.
        epoch = ++current_.epoch;
        disconnect();
        if (attaching_)
            attaching_->shut_down();
        attaching_ = fresh;
        changed();
    }
    const std::lock_guard order(attach_mutex_);
    std::uint64_t have = 0;
    {
        const Lock lock(mutex_);
        if (current_.epoch != epoch || closed())
            return Unexpected(attach_error());
        have = received_;
    }
    const auto position = exchange_positions(*fresh, have, deadline);
    auto pipe = make_quiet_pipe();
    Lock lock(mutex_);
    if (current_.epoch == epoch)
        attaching_.reset();
    if (current_.epoch != epoch || closed())
        return Unexpected(attach_error());
    if (!position)
        return Unexpected(position.error());
    if (!pipe)
        return Unexpected(pipe.error());
    if (*position < acknowledged_ || *position > max_sent_)
        return fail(ErrorKind::protocol,
                    "expected the other gcctl to have {} to {} bytes of the channel, it says {}",
                    acknowledged_, max_sent_, *position);
    ::dup3(fresh->fd(), socket_.get(), O_CLOEXEC);
    // A thread that sends on an older connection comes back at once, and finds this one.
    changed_.wait(lock, [&] { return current_.epoch != epoch || !sending_ || sending_all_; });
    for (unsigned called = 0; called != on_attached_set_;) {
        called = on_attached_set_;
        const auto call = on_attached_;
        lock.unlock();
        if (call)
            call(socket_.get());
        lock.lock();
    }
    if (current_.epoch != epoch || closed())
        return Unexpected(attach_error());
    current_.connection = fresh;
    sent_ = acknowledged_ = *position;
    release();
    told_ = have;
    stopped_told_ = false;
    silence_ = idle_ = {};
    // Its end is a hang-up, which wakes threads that wait for any event of the pipe.
    quiet_ = std::move(*pipe);
    changed();
    start_sending(lock);
    return {};
}

void Channel::on_attached(const std::function<void(int socket)>& call) {
    Lock lock(mutex_);
    ++on_attached_set_;
    on_attached_ = call;
    if (!call || (!raw_ && !current_.connection))
        return;
    lock.unlock();
    call(socket());
}

Result<std::uint64_t> Channel::exchange_positions(Connection& with, std::uint64_t have,
                                                  Deadline deadline) const {
    GC_CHECK(with.write(encode({.kind = RecordKind::resume, .position = have})));
    std::array<std::byte, record_head_size> bytes{};
    for (std::size_t got = 0; got < bytes.size();) {
        GC_TRY(const bool ready, with.pending() ? true : wait_readable(with.fd(), deadline));
        if (!ready)
            return fail(ErrorKind::io, "the other gcctl did not say in time what it has received");
        GC_TRY(const auto more, with.read_available(std::span(bytes).subspan(got)));
        if (more && *more == 0)
            return fail(ErrorKind::io, "the other gcctl closed the connection");
        got += more.value_or(0);
    }
    GC_TRY(const RecordHead head, decode(bytes));
    if (head.kind == RecordKind::closed)
        return fail(ErrorKind::unsupported, "the other gcctl does not know this migration");
    if (head.kind != RecordKind::resume)
        return fail(ErrorKind::protocol, "expected a record of kind {} first, found kind {}",
                    static_cast<unsigned>(RecordKind::resume), static_cast<unsigned>(head.kind));
    return head.position;
}

void Channel::start_sending(Lock& lock) {
    if (sending_ || dead() || sent_ == total())
        return;
    sending_ = sending_all_ = true;
    std::thread before = std::exchange(sender_, std::thread([this] {
                                           Lock inner(mutex_);
                                           send_all(inner);
                                       }));
    lock.unlock();
    if (before.joinable())
        before.join();
    lock.lock();
}

void Channel::send_rest(Lock& lock) {
    if (ending_ && current_.connection && sent_ < retained_.end())
        start_sending(lock);
}

void Channel::tick(Clock::time_point now) {
    Lock lock(mutex_);
    const auto step =
        last_tick_ ? std::clamp<Clock::duration>(now - *last_tick_, 0ms, max_step) : 0ms;
    last_tick_ = now;
    if (!current_.connection)
        return;
    const std::uint64_t unread = queued_bytes(current_.connection->fd(), SIOCINQ);
    const bool heard = std::exchange(heard_before_, heard_.load()) != heard_ ||
                       std::exchange(unread_before_, unread) != unread ||
                       // The reader has not come to it yet.
                       (!receiving_ && readable(*current_.connection));
    silence_ = heard ? Clock::duration{} : silence_ + step;
    if (silence_ >= dead_after) {
        const std::uint64_t epoch = current_.epoch;
        lock.unlock();
        lost(epoch, {ErrorKind::io,
                     fmt::format("nothing came from the other gcctl for {} ms", dead_after.count()),
                     ETIMEDOUT});
        return;
    }
    idle_ = std::exchange(said_before_, said_) != said_ ? Clock::duration{} : idle_ + step;
    beat_due_ = idle_ + tick_interval >= beat_interval;
    send_due(lock, Acknowledge::anything);
    send_rest(lock);
}

void Channel::give_up(Error why) {
    const Lock lock(mutex_);
    end_with(std::move(why));
}

bool Channel::connected() const {
    const Lock lock(mutex_);
    return raw_ || current_.connection != nullptr;
}

bool Channel::over() const {
    const Lock lock(mutex_);
    return is_over();
}

bool Channel::is_over() const {
    if (raw_)
        return false;
    if (closed())
        return true;
    // `written`: no more is to be sent; `read`: no more is to be received.
    const bool written = peer_stopped_ || (ending_ && acknowledged_ == total());
    const bool read = stopped_told_ || (end_received_ && told_ == received_);
    return written && read;
}

Error Channel::write_error() const {
    if (failed_)
        return *failed_;
    const std::string_view why = shut_           ? "this gcctl has closed the channel"
                                 : peer_closed_  ? "the other gcctl has closed the channel"
                                 : peer_stopped_ ? "the other gcctl reads no more of the channel"
                                                 : "the stream was ended";
    return {ErrorKind::io, std::string(why), EPIPE};
}

Error Channel::attach_error() const {
    if (failed_)
        return *failed_;
    return {ErrorKind::io, closed() ? "the channel needs no connection any more"
                                    : "a newer connection took the place of this one"};
}

// ---- connections

void Channel::changed() {
    changed_.notify_all();
    const bool arrived =
        !inbox_.bytes().empty() || end_received_ || stopped_ || shut_ || failed_ || peer_closed_;
    if (arrived == std::exchange(arrived_signalled_, arrived))
        return;
    if (arrived)
        arrived_.signal();
    else
        arrived_.clear();
}

void Channel::disconnect() {
    ::dup3(quiet_.read.get(), socket_.get(), O_CLOEXEC);
    if (current_.connection)
        current_.connection->shut_down();
    current_.connection.reset();
}

void Channel::lost(std::uint64_t epoch, const Error& cause) {
    {
        const Lock lock(mutex_);
        if (current_.epoch != epoch || !current_.connection)
            return;
        const bool over = is_over();
        disconnect();
        changed();
        if (over)
            return;
    }
    if (options_.on_lost)
        options_.on_lost(cause);
}

void Channel::end_with(Error why) {
    if (!failed_)
        failed_ = std::move(why);
    disconnect();
    if (attaching_)
        attaching_->shut_down();
    quiet_.write.reset();  // a hang-up wakes threads that wait for any event
    changed();
}

int Channel::socket() const {
    return raw_ ? raw_->fd() : socket_.get();
}

int Channel::fd() const {
    if (raw_)
        return raw_->fd();
    return options_.reads == Reads::thread ? arrived_.fd() : socket_.get();
}

bool Channel::pending() const {
    if (raw_)
        return raw_->pending();
    const Lock lock(mutex_);
    if (!inbox_.bytes().empty() || ready_ > 0)
        return true;
    return options_.reads == Reads::caller && current_.connection &&
           (current_.connection->pending() || holds_record());
}

bool Channel::holds_record() const {
    if (receiving_ || input_epoch_ != current_.epoch)
        return false;
    const auto bytes = input_.bytes();
    if (bytes.size() < record_head_size)
        return false;
    const auto head = decode(bytes.first<record_head_size>());
    return !head || bytes.size() - record_head_size >= head->size;
}

void Channel::end_writing() {
    if (raw_)
        return raw_->end_writing();
    Lock lock(mutex_);
    if (std::exchange(ending_, true))
        return;
    changed();
    send_due(lock);
    send_rest(lock);
}

void Channel::end_reading() {
    if (raw_)
        return raw_->end_reading();
    Lock lock(mutex_);
    if (std::exchange(stopped_, true))
        return;
    inbox_.keep(0);
    taken_ = received_;
    if (options_.reads == Reads::caller)
        ended_reading_.signal();
    start_reader();
    changed();
    send_due(lock);
}

void Channel::shut_down() {
    if (raw_)
        return raw_->shut_down();
    Lock lock(mutex_);
    if (std::exchange(shut_, true))
        return;
    changed();
    send_closed(lock, closing_time);
    disconnect();
    if (attaching_)
        attaching_->shut_down();
    quiet_.write.reset();
    changed();
}

void Channel::send_closed(Lock& lock, Deadline deadline) {
    // Another thread may be sending a record, and sends no more after it.
    changed_.wait_for(lock, deadline.left(), [this] { return !sending_ || !current_.connection; });
    const Current current = current_;
    if (sending_ || !current.connection)
        return;
    sending_ = true;
    lock.unlock();
    const bool writable =
        wait_for_events(current.connection->fd(), POLLOUT, deadline).value_or(false);
    lock.lock();
    if (writable && current_.connection == current.connection)
        send_short(lock, current, {.kind = RecordKind::closed});
    sending_ = false;
}

void Channel::close() {
    if (raw_)
        return raw_->close();
    shut_down();
    const std::lock_guard order(attach_mutex_);  // an attach() may still call on_attached_
    for (std::thread* thread : {&reader_, &sender_})
        if (thread->joinable())
            thread->join();
}

void reject_attach(Connection& connection) {
    (void)connection.write(encode({.kind = RecordKind::closed}));
}

}  // namespace gc::peer
