// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the destination's return path and answers its page requests at once.
#pragma once

#include "stream/return_path.h"
#include "transfer/next_pages.h"
#include "transfer/stream_relay.h"

#include <atomic>

namespace gc::transfer {

class PageServer {
  public:
    PageServer(PageSender& sender, SourceSocket& source, const image::SourceImage& image,
               AskedPages& asked, NextPages& next, Notices& notices, const Waker& guide)
        : sender_(sender), source_(source), image_(image), asked_(asked), next_(next),
          notices_(notices), guide_(guide) {}

    /// The thread's body: returns after the destination's SHUT, or an error.
    /// @param ledger null until the source has named its RAM blocks
    Result<void> run(const std::atomic<ledger::Ledger*>& ledger);

  private:
    Result<bool> handle(const stream::ReturnMessage& message, ledger::Ledger* ledger);
    Result<void> serve(const stream::PageRequest& request, ledger::Ledger& ledger);
    Result<void> forward(const stream::Buffer& message);

    PageSender& sender_;
    SourceSocket& source_;
    const image::SourceImage& image_;
    AskedPages& asked_;
    NextPages& next_;
    Notices& notices_;
    const Waker& guide_;  ///< of its pusher
};

}  // namespace gc::transfer
