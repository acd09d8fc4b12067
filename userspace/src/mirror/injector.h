// SPDX-License-Identifier: GPL-2.0-or-later
// At the source: shows the guide what arrives for its VM, and listens to what it answers, which
// goes nowhere.
#pragma once

#include "mirror/follower.h"
#include "mirror/packet_socket.h"
#include "mirror/record.h"
#include "peer/channel.h"
#include "util/mailbox.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gc::mirror {

struct InjectorCounts {
    FollowerCounts follower;
    std::uint64_t left_out = 0;  ///< packets that the destination did not send
    std::uint64_t lost = 0;      ///< packets that its kernel dropped
    std::uint64_t refused = 0;   ///< packets that the guide's tap did not take
};

class Injector {
  public:
    /// Where the packets of a NIC go.
    struct Port {
        std::uint16_t nic = 0;  ///< its number in the records
        std::string device;     ///< in the guide's network namespace
    };
    /// Errors: unsupported, io.
    static Result<std::unique_ptr<Injector>> start(peer::Channel& channel, int network_namespace,
                                                   const std::vector<Port>& ports);
    /// Tells the destination to send no more.
    ~Injector();
    Injector(const Injector&) = delete;
    Injector& operator=(const Injector&) = delete;

    /// As of some milliseconds ago. From any thread.
    [[nodiscard]] InjectorCounts counts() const;
    /// What was wrong with what the destination sent, if it was. From any thread.
    [[nodiscard]] std::optional<Error> error() const;
    /// Ends it.
    void stop();

  private:
    struct Open {
        std::uint16_t nic = 0;
        PacketSocket socket;
    };
    Injector(peer::Channel& channel, std::vector<Open> ports, Waker stop);

    void run();
    /// @return whether more may come
    Result<bool> read_channel();
    void take(const Record& record);
    void read_guide(Open& port);
    void inject(std::uint16_t nic, std::span<const std::byte> packet);
    void publish();

    peer::Channel& channel_;
    std::vector<Open> ports_;
    Waker stop_;
    RecordReader reader_;
    Follower follower_;
    std::vector<std::byte> answer_ = std::vector<std::byte>(virtio_header + max_headers + tag_size);
    InjectorCounts now_;
    std::atomic<bool> stopping_ = false;
    mutable std::mutex mutex_;  ///< protects the next two
    InjectorCounts counts_;
    std::optional<Error> error_;
    std::thread thread_;
};

}  // namespace gc::mirror
