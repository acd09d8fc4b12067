// SPDX-License-Identifier: GPL-2.0-or-later
// Reads the destination's return path and answers its page requests at once.
#pragma once

#include "stream/return_path.h"
#include "transfer/guide_origin.h"
#include "transfer/next_pages.h"
#include "transfer/stream_relay.h"

#include <atomic>

namespace gc::transfer {

class PageServer {
  public:
    PageServer(PageSender& sender, SourceSocket& source, AskedPages& asked, NextPages& next,
               const KeptPages& kept, GuideOrigin& origin, Notices& notices, const Waker& guide)
        : sender_(sender), source_(source), asked_(asked), next_(next), kept_(kept),
          origin_(origin), notices_(notices), guide_(guide) {}

    /// The thread's body: returns after the destination's SHUT, or an error.
    /// @param ledger null until the source has named its RAM blocks
    Result<void> run(const std::atomic<ledger::Ledger*>& ledger);

  private:
    Result<bool> handle(const stream::ReturnMessage& message, ledger::Ledger* ledger);
    Result<void> serve(const stream::PageRequest& request, ledger::Ledger& ledger);
    /// Index in the ledger of a request's block, or no_block. The destination names a block only
    /// when it changes (migrate_send_rp_req_pages() in migration/migration.c), so nearly always it
    /// is that of the last request.
    std::size_t block_of(const stream::PageRequest& request, const ledger::Ledger& ledger);

    PageSender& sender_;
    SourceSocket& source_;
    std::size_t last_block_ = ledger::Ledger::no_block;
    AskedPages& asked_;
    NextPages& next_;
    const KeptPages& kept_;
    GuideOrigin& origin_;
    Notices& notices_;
    const Waker& guide_;  ///< wakes the GuidePusher
};

}  // namespace gc::transfer
