// SPDX-License-Identifier: GPL-2.0-or-later
// A stream of bytes in each direction that outlives its connections.
//
// Each side retains what the other one has not acknowledged. After a connection breaks, its owner
// attaches another one: both sides say which position they have, and continue from there. A reader
// gets each byte once and in order; neither readers nor writers notice more than a delay.
// docs/internals/sessions.md has the states and the records.
//
// A gcctl of protocol version 4 knows no records: for it, a raw channel is one connection, and ends
// with it.
#pragma once

#include "peer/connection.h"
#include "peer/record.h"
#include "peer/retained.h"
#include "util/deadline.h"
#include "util/mailbox.h"
#include "util/read_buffer.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace gc::peer {

/// One thread may read while another one writes; attach() and tick() may be called from others.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): members are grouped by purpose
class Channel {
  public:
    using Clock = std::chrono::steady_clock;
    using More = Connection::More;

    /// Acknowledgements come on the same connection as data, so somebody must always read.
    enum class Reads : bool {
        caller,  ///< the caller reads until the end of the stream, or calls end_reading()
        thread,  ///< a thread of the channel reads ahead, up to max_read_ahead
    };

    struct Options {
        Reads reads = Reads::caller;
        /// Whether data is checked with CRC32C where there is no TLS. The same on both sides.
        bool checksums = true;
        /// Limit for copies of what is not acknowledged, and for what is held, in bytes: write()
        /// waits.
        std::size_t max_copied = std::size_t{8} << 20;
        /// Bytes that write() may leave unsent when there is no connection. With 0 it waits.
        std::size_t max_unsent = 0;
        /// A connection broke and another one is needed. From any thread, which it must not block;
        /// never from attach(), whose result says the same. May not call the channel.
        std::function<void(const Error& cause)> on_lost;
    };

    /// A connection is dead when nothing has come for this long.
    static constexpr std::chrono::milliseconds dead_after{1500};
    /// tick() is to be called this often.
    static constexpr std::chrono::milliseconds tick_interval{100};
    /// Each side sends at least one record in this time.
    static constexpr std::chrono::milliseconds beat_interval{300};
    /// Each acknowledgement wakes a thread of the sender, which may retain at least 8 MiB.
    static constexpr std::size_t acknowledge_after = std::size_t{256} * 1024;
    static constexpr std::size_t max_read_ahead = std::size_t{256} * 1024;

    /// A channel without a connection. Errors: io (no descriptors).
    static Result<std::unique_ptr<Channel>> create(Options options);
    /// A raw channel: its bytes travel without records, and an error of the connection is the
    /// channel's. Errors: io (no descriptors).
    static Result<std::unique_ptr<Channel>> raw(Connection connection);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    // ---- for the owner

    /// Continues on a new connection, which takes the place of any other. Returns when both sides
    /// have said what they have; so the other gcctl must attach its end, too. From any thread, but
    /// not from on_lost; of several calls at once the last one wins.
    /// Errors: io (the connection broke, the deadline passed, a newer one was attached, the channel
    /// is over), protocol; unsupported, if the other gcctl does not know the channel, see
    /// reject_attach(). The channel has no connection then, and on_lost is not called.
    Result<void> attach(Connection connection, Deadline deadline);
    /// Called by attach() with the socket of the new connection, to set its options, and at once if
    /// there is one. Empty: nothing. From any thread; after close(), the last one is called no
    /// more.
    void on_attached(const std::function<void(int socket)>& call);
    /// Sends what is due, and notices a connection on which nothing arrives. Never blocks. Call it
    /// each tick_interval, from one thread; see Heartbeat.
    void tick(Clock::time_point now);
    /// Makes every read and write fail with this error, for good. From any thread.
    void give_up(Error why);
    [[nodiscard]] bool connected() const;
    /// Whether no connection is needed any more.
    [[nodiscard]] bool over() const;

    // ---- as Connection

    [[nodiscard]] bool is_raw() const { return raw_.has_value(); }
    /// For poll(2): readable when bytes may have arrived; read_available() says whether there are
    /// any. The same number for all connections.
    [[nodiscard]] int fd() const;
    /// For socket options, sizes of queues, and POLLOUT. The same number for all connections;
    /// without one, it is no socket and neither readable nor writable.
    [[nodiscard]] int socket() const;
    /// Whether received bytes are held in memory.
    [[nodiscard]] bool pending() const;

    /// Reads at least one byte. @return 0 at the end of the stream, and after end_reading() or
    /// shut_down(). Errors: io, if the other gcctl closed the channel; that of give_up().
    Result<std::size_t> read_some(std::span<std::byte> into);
    Result<bool> read_whole(std::span<std::byte> into);
    Result<std::optional<std::size_t>> read_available(std::span<std::byte> into);

    /// Returns when all bytes are retained, and sent or within max_unsent. Errors: io, if this side
    /// ended the stream, or the other one reads no more; that of give_up().
    /// @param parts the vector is left as it is
    /// @param held parts that are in it are retained without a copy; they count as copied, too
    Result<void> write(std::span<const iovec> parts, More more = More::no,
                       const HeldBytes& held = {});
    Result<void> write(std::span<const std::byte> bytes, More more = More::no);
    /// The same for memory that is mapped, and unchanged, until the channel is closed: retained
    /// without a copy.
    Result<void> write_frozen(std::span<const std::byte> bytes, More more = More::no);
    /// Sends a range of a file, which must stay open and unchanged until the channel is closed:
    /// retained without a copy. SIGPIPE must be ignored. Errors: also io if the file ends early,
    /// for good.
    /// @param mapped the same bytes, or empty: saves reading them where they are checked
    Result<void> send_file(int file, std::uint64_t offset, std::size_t size, More more = More::no,
                           HeldBytes mapped = {});

    void end_writing();
    void end_reading();
    /// Tells the other side if it can.
    void shut_down();
    /// Only when no thread uses it any more. What the other side has not taken may be lost: see
    /// wait_taken().
    void close();

    // ---- what is in flight

    /// Bytes written that the other side's reader has not taken. From any thread.
    [[nodiscard]] std::uint64_t unacknowledged() const;
    /// The part of them that has not reached the other host, as far as its TCP has said. From any
    /// thread.
    [[nodiscard]] std::uint64_t in_flight() const;
    /// Bytes of memory that copies of these take, and what is held of them. From any thread.
    [[nodiscard]] std::size_t copied() const;
    /// Waits until the other side's reader has taken all that was written, and the end if
    /// end_writing() was called. @return false if the deadline passed first. Errors: as write().
    Result<bool> wait_taken(Deadline deadline);

  private:
    using Lock = std::unique_lock<std::mutex>;
    /// A connection and its number.
    struct Current {
        std::shared_ptr<Connection> connection;
        std::uint64_t epoch = 0;
    };

    Channel(Options options, Waker arrived, Waker ended_reading)
        : options_(std::move(options)), arrived_(std::move(arrived)),
          ended_reading_(std::move(ended_reading)) {}

    // What follows is called with the mutex locked, except where noted.

    /// Whether nothing is sent any more.
    [[nodiscard]] bool dead() const { return shut_ || failed_ || peer_closed_ || peer_stopped_; }
    /// Whether no connection can help.
    [[nodiscard]] bool closed() const { return shut_ || failed_ || peer_closed_; }
    [[nodiscard]] bool is_over() const;
    [[nodiscard]] Error write_error() const;
    [[nodiscard]] Error attach_error() const;
    [[nodiscard]] std::uint64_t total() const { return retained_.end() + (ending_ ? 1 : 0); }
    void changed();
    void disconnect();
    /// Not locked.
    void lost(std::uint64_t epoch, const Error& cause);

    // attach()
    Result<std::uint64_t> exchange_positions(Connection& with, std::uint64_t have,
                                             Deadline deadline) const;  // not locked
    Result<void> install(const Current& fresh, std::uint64_t position);
    /// Sends everything in a thread of the channel, if no other thread does.
    void start_sending(Lock& lock);
    /// After the end, no writer comes that would send what it left.
    void send_rest(Lock& lock);

    // Writing: one thread at a time has sending_.
    Result<void> add(Lock& lock, const Piece& frozen, std::shared_ptr<const void> owner = nullptr);
    /// @param owner if null, the bytes are copied
    Result<void> add(Lock& lock, std::span<const std::byte> bytes,
                     const std::shared_ptr<const void>& owner);
    /// Sends what is added once it fills a record: otherwise the rest of a message follows.
    Result<void> flush_records(Lock& lock);
    Result<void> await_room(Lock& lock, std::size_t size);
    Result<void> flush(Lock& lock);
    void send_all(Lock& lock);
    void send_data(Lock& lock, const Current& current);
    enum class Acknowledge : bool { much, anything };
    /// Whether poll(2) says that a short record can be sent without waiting.
    static bool writable(const Connection& connection);
    [[nodiscard]] bool checked(const Connection& connection) const;
    /// A record without data that is to be sent now.
    [[nodiscard]] std::optional<RecordHead> due(Acknowledge when) const;
    void send_short(Lock& lock, const Current& current, const RecordHead& record);
    /// Not locked. What arrived before the connection broke is taken first: it may say that the
    /// other gcctl has closed the channel, which nobody will say again.
    void lost_writing(const Current& current, const Error& cause);
    /// Without it, the other gcctl would wait for a new connection.
    void send_closed(Lock& lock, Deadline deadline);
    /// Sends what is due, if that needs no waiting.
    void send_due(Lock& lock, Acknowledge when = Acknowledge::much);
    Result<void> load_files(std::span<Piece> pieces);  // not locked
    Result<void> write_record(Connection& to, std::uint64_t position, std::span<const Piece> pieces,
                              More more) const;  // not locked
    void release();
    void end_with(Error why);

    // Reading: one thread at a time has receiving_.
    enum class Wait : std::uint8_t {
        no,
        yes,     ///< until bytes arrive, or end_reading()
        always,  ///< until bytes arrive
    };
    Result<std::optional<std::size_t>> read(std::span<std::byte> into, Wait wait);
    /// @return whether bytes arrived
    bool receive(Lock& lock, std::span<std::byte> into, std::size_t& taken, Wait wait);
    Result<bool> receive_bytes(Connection& from, Wait wait);  // not locked
    Result<void> take_records(Lock& lock, const Current& current, std::span<std::byte> into,
                              std::size_t& taken);
    Result<void> on_record(const RecordHead& head, std::span<const std::byte> data,
                           std::span<std::byte> into, std::size_t& taken);
    Result<void> on_acknowledged(std::uint64_t position);
    std::size_t take(std::span<std::byte> into);
    /// So that somebody else than the caller that reads can receive.
    void set_ready_aside();
    /// Whether a record was received whole and not yet looked at.
    [[nodiscard]] bool holds_record() const;
    void start_reader();
    void read_on();  // not locked: the thread

    const Options options_;
    std::optional<Connection> raw_;
    std::function<void(int)> on_attached_;
    unsigned on_attached_set_ = 0;  ///< number of calls of on_attached()
    Waker arrived_;        ///< fd(), if a thread reads: readable while read() need not wait
    Waker ended_reading_;  ///< once, wakes a caller in receive_bytes()
    UniqueFd socket_;
    /// A pipe. Without a connection socket_ is its reading end, of which poll(2) reports nothing.
    struct QuietPipe {
        UniqueFd read, write;
    };
    static Result<QuietPipe> make_quiet_pipe();

    QuietPipe quiet_;

    std::mutex attach_mutex_;  ///< taken first
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool arrived_signalled_ = false;
    Current current_;                        ///< connection: nullptr if there is none
    std::shared_ptr<Connection> attaching_;  ///< in attach()
    bool shut_ = false;                      ///< shut_down() was called
    bool peer_closed_ = false;
    std::optional<Error> failed_;

    // Writing.
    Retained retained_;
    bool sending_ = false;
    bool sending_all_ = false;  ///< in send_all(), which also sends what is added meanwhile
    /// Of the data that a thread is sending, unlocked: it must not be dropped.
    std::optional<std::uint64_t> sending_from_;
    std::uint64_t sent_ = 0;      ///< on this connection
    std::uint64_t max_sent_ = 0;  ///< on any
    std::uint64_t acknowledged_ = 0;
    bool ending_ = false;          ///< end_writing() was called
    bool peer_stopped_ = false;    ///< reads no more
    std::vector<std::byte> room_;  ///< belongs to the holder of sending_: for parts of files
    std::thread sender_;           ///< sends again after attach()

    // Reading.
    bool receiving_ = false;
    ReadBuffer input_;       ///< belongs to the holder of receiving_; locked if there is none
    std::size_t ready_ = 0;  ///< bytes at its front: checked data that was not taken
    std::uint64_t input_epoch_ = 0;  ///< belongs to the holder of receiving_
    ReadBuffer inbox_;               ///< the same, of a thread of the channel
    std::uint64_t received_ = 0;
    std::uint64_t taken_ = 0;
    std::uint64_t told_ = 0;  ///< the last acknowledgement on this connection
    bool beat_due_ = false;
    bool end_received_ = false;
    bool stopped_ = false;       ///< end_reading() was called
    bool stopped_told_ = false;  ///< on this connection
    std::thread reader_;

    // For tick().
    std::atomic<std::uint64_t> heard_ = 0;  ///< reads that brought something
    std::uint64_t heard_before_ = 0;
    std::uint64_t unread_before_ = 0;
    std::uint64_t said_ = 0;  ///< records sent
    std::uint64_t said_before_ = 0;
    Clock::duration silence_{}, idle_{};
    std::optional<Clock::time_point> last_tick_;
};

/// The answer to a connection that wants to continue a channel which does not exist here: attach()
/// at the other end fails for good. Best effort.
void reject_attach(Connection& connection);

}  // namespace gc::peer
