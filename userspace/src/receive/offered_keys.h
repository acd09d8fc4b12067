// SPDX-License-Identifier: GPL-2.0-or-later
// The keys by which the channels of the current migration are recognised.
#pragma once

#include "peer/channel_keys.h"

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gc::receive {

/// Thread-safe: handshakes look keys up while the control loop offers and withdraws them.
class OfferedKeys {
  public:
    void offer(const peer::Token& token, const peer::ChannelKeys& keys) {
        const std::lock_guard lock(mutex_);
        offered_.clear();
        for (const peer::ChannelId channel : peer::channel_ids)
            offered_.emplace_back(peer::key_identity(token, channel), keys.key(channel));
    }
    /// The channel is open: its key has been used.
    void withdraw(std::string_view identity) {
        const std::lock_guard lock(mutex_);
        std::erase_if(offered_, [&](const auto& offered) { return offered.first == identity; });
    }
    void withdraw_all() {
        const std::lock_guard lock(mutex_);
        offered_.clear();
    }
    [[nodiscard]] std::optional<tls::Key> find(std::string_view identity) const {
        const std::lock_guard lock(mutex_);
        for (const auto& [name, key] : offered_)
            if (name == identity)
                return key;
        return std::nullopt;
    }

  private:
    mutable std::mutex mutex_;
    std::vector<std::pair<std::string, tls::Key>> offered_;
};

}  // namespace gc::receive
