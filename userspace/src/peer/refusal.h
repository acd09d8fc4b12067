// SPDX-License-Identifier: GPL-2.0-or-later
// The destination's right to say "the VM never ran here", which it loses when it commits.
#pragma once

#include "peer/message.h"

#include <optional>

namespace gc::peer {

/// A one-time secret. The source is given its hash, the seal, before the VM is sent. After the
/// commit it believes a refusal only with the secret itself, the proof. The destination destroys
/// the secret before it lets the VM run: from then on neither a fault of its own nor somebody who
/// reads and writes the connection can make the source run the VM a second time.
class Refusal {
  public:
    /// Errors: io.
    static Result<Refusal> make();
    Refusal(Refusal&& other) noexcept;
    Refusal& operator=(Refusal&& other) noexcept;
    Refusal(const Refusal&) = delete;
    Refusal& operator=(const Refusal&) = delete;
    ~Refusal() { destroy(); }

    [[nodiscard]] const Digest& seal() const { return seal_; }
    /// nullopt after destroy().
    [[nodiscard]] std::optional<Digest> proof() const { return secret_; }
    void destroy();

  private:
    Refusal(const Digest& secret, const Digest& seal) : secret_(secret), seal_(seal) {}

    std::optional<Digest> secret_;
    Digest seal_;
};

/// Whether the proof opens the seal.
[[nodiscard]] bool opens(const std::optional<Digest>& seal, const std::optional<Digest>& proof);

}  // namespace gc::peer
