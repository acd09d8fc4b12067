// SPDX-License-Identifier: GPL-2.0-or-later
// What the two `gcctl recover` say to each other, on one connection.
//
// The source begins with a line of JSON, the hello:
//
//     {"guidecopy-recovery": 1, "id": "0123456789abcdef"}
//
// Everything else is frames, in both directions: a head of 16 bytes, and `size` bytes after it. All
// numbers are big-endian.
//
//     byte 0   kind
//          4   size: 32 bits, at most max_frame
//          8   CRC32C of these bytes
//         12   CRC32C of the bytes before
//
//     destination -> source
//     description   JSON: {"id", "uuid", "completed", "blocks": [{"name", "pages", "granule"}]}
//     bitmap        u16 block, then a bit for each page that the destination has (RECV_BITMAP)
//     request       u16 block, u64 first page, u32 pages: the VM waits for them
//     completed     the destination QEMU has all of the VM
//     refused       the reason, for people
//     alive         at least once a second
//
//     source -> destination
//     description   as above, without "granule"
//     pages         u32 id of QEMU's section "ram", u16 block; then, for each page: u64 number with
//                   bit 63 set for a page of zeros, and unless it is set 4096 bytes
//     all-sent      no page is missing any more
//     refused       the reason, for people
//     alive         at least once a second
//
// The destination sends its description and a bitmap for each block when it has read the hello and
// the source's description. A block's number is its place in the destination's description. A
// connection that breaks is of no consequence: the next one begins with new bitmaps.
#pragma once

#include "peer/connection.h"
#include "recover/page_set.h"
#include "util/deadline.h"
#include "util/read_buffer.h"

#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gc::recover {

enum class FrameKind : std::uint8_t {
    description = 1,
    bitmap,
    request,
    pages,
    all_sent,
    completed,
    refused,
    alive,
};

struct Frame {
    FrameKind kind = FrameKind::alive;
    std::vector<std::byte> body;

    /// The body of a frame for people.
    [[nodiscard]] std::string text() const {
        return {reinterpret_cast<const char*>(body.data()), body.size()};
    }
};

/// A bitmap of a block of 8 TiB.
inline constexpr std::size_t max_frame = std::size_t{256} << 20;
inline constexpr std::chrono::seconds alive_interval{1};
/// Without a frame for so long, the connection is dead.
inline constexpr std::chrono::seconds dead_after{10};

struct Block {
    std::string name;
    std::uint64_t pages = 0;
    /// Pages in a host page of the destination, which takes them only together and in order.
    std::uint64_t granule = 1;
};

struct Description {
    std::string id;  ///< of the migration; empty if this host has no record of it
    std::string uuid;
    bool completed = false;  ///< destination only
    std::vector<Block> blocks;
};
[[nodiscard]] std::string encode(const Description& description);
/// Never throws. Errors: protocol.
[[nodiscard]] Result<Description> decode_description(std::span<const std::byte> body);

struct Request {
    std::uint16_t block = 0;
    std::uint64_t first = 0;
    std::uint32_t count = 0;
};
[[nodiscard]] std::vector<std::byte> encode(const Request& request);
[[nodiscard]] Result<Request> decode_request(std::span<const std::byte> body);

inline constexpr std::uint64_t zero_page = std::uint64_t{1} << 63;
/// Calls on_page(number, bytes) for each page; the bytes are empty for a page of zeros.
struct PagesHead {
    std::uint32_t section = 0;
    std::uint16_t block = 0;
};
struct PageBytes {
    std::uint64_t number = 0;
    std::span<const std::byte> bytes;  ///< empty: zeros
};
/// Errors: protocol.
[[nodiscard]] Result<std::vector<PageBytes>> decode_pages(std::span<const std::byte> body,
                                                          PagesHead& head);
void append_pages_head(std::vector<std::byte>& out, const PagesHead& head);
void append_page(std::vector<std::byte>& out, const PageBytes& page);

/// The line without its '\n'. Errors: protocol; what a `gcctl migrate` says is an error that names
/// the right command.
[[nodiscard]] std::string hello(const std::string& id);
[[nodiscard]] Result<std::string> decode_hello(std::string_view line);

/// One thread may receive while others send.
class Link {
  public:
    /// Limits how long a dead network can hold up a write.
    explicit Link(peer::Connection connection);

    [[nodiscard]] int fd() const { return connection_.fd(); }
    [[nodiscard]] bool pending() const { return connection_.pending() || has_frame(); }

    Result<void> send_line(const std::string& line);
    /// Errors: io (also at the deadline), protocol.
    Result<std::string> receive_line(Deadline deadline);

    Result<void> send(FrameKind kind, std::span<const std::byte> body = {});
    Result<void> send(FrameKind kind, std::string_view text);
    /// The next frame, or nullopt if none is complete by the deadline. Errors: io, protocol.
    Result<std::optional<Frame>> receive(Deadline deadline);

    /// Ends every wait, from any thread.
    void shut_down() const { connection_.shut_down(); }

  private:
    [[nodiscard]] bool has_frame() const;
    Result<std::optional<Frame>> take();
    /// @return false if nothing came by the deadline
    Result<bool> fill(Deadline deadline);

    peer::Connection connection_;
    ReadBuffer buffer_;
    std::mutex sending_;
};

}  // namespace gc::recover
