// SPDX-License-Identifier: GPL-2.0-or-later
// A destination QEMU in postcopy-paused, and the recovery that brings it back.
//
// QEMU's recovery handshake happens on unix sockets between it and this process, and is over in
// milliseconds: a connection that breaks within it makes QEMU 7.2 crash. No network is part of it,
// so that whatever happens to the network later, QEMU's sockets stay open.
#pragma once

#include "qmp/client.h"
#include "recover/link.h"
#include "recover/page_set.h"
#include "state/process.h"
#include "stream/return_path.h"
#include "util/private_socket.h"

#include <string>
#include <vector>

namespace gc::recover {

class IncomingQemu {
  public:
    /// Connects and checks that QEMU's migration is broken or complete. Changes nothing.
    /// Errors: io, unsupported.
    static Result<IncomingQemu> open(const std::string& qmp_path);

    [[nodiscard]] bool completed() const { return completed_; }
    [[nodiscard]] const state::Process& process() const { return process_; }
    [[nodiscard]] const std::string& uuid() const { return uuid_; }
    /// In QEMU's order; and the pages that QEMU has, or was given since.
    [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
    [[nodiscard]] const std::vector<PageSet>& received() const { return received_; }
    [[nodiscard]] std::uint64_t missing() const;
    /// As QMP says: "running", "paused".
    Result<std::string> run_state();

    /// Performs the handshake; afterwards QEMU's state is postcopy-active. Also after the
    /// connection broke again. Errors: io, protocol, unsupported.
    Result<void> shake_hands();
    /// Readable when QEMU requests pages.
    [[nodiscard]] int fd() const { return main_.get(); }
    /// The requests that have arrived. Errors: io, if QEMU has closed the connection; protocol.
    Result<std::vector<Request>> take_requests();

    /// Gives QEMU the pages that it does not have. Errors: io.
    Result<void> give(const PagesHead& head, std::span<const PageBytes> pages);
    /// All pages were given: ends the stream, and waits until QEMU's migration is complete.
    Result<void> finish();
    /// Tells QEMU to run the VM, and does not wait for that: QEMU's main loop, and so the VM, may
    /// need a page first. Afterwards run_state() says whether it does.
    Result<void> start_vm();

  private:
    IncomingQemu(qmp::Client qmp, state::Process process)
        : qmp_(std::move(qmp)), process_(process) {}
    Result<void> look();
    Result<void> await_paused();
    Result<void> connect();
    Result<void> ask_bitmaps();
    Result<void> take_bitmap(const stream::ReceivedBitmap& bitmap);
    Result<std::optional<stream::ReturnMessage>> next_message(Deadline deadline);
    [[nodiscard]] std::optional<std::size_t> find(std::string_view block) const;
    void note(const stream::PageRequest& request);

    qmp::Client qmp_;
    state::Process process_;
    std::string uuid_;
    bool completed_ = false;
    bool preempt_ = false;
    std::vector<Block> blocks_;
    std::vector<PageSet> received_;
    UniqueFd main_;
    UniqueFd urgent_;
    stream::ReturnPathReader reader_;
    ReadBuffer buffer_;
    std::vector<Request> requests_;  ///< taken by the handshake
    bool shut_ = false;
};

}  // namespace gc::recover
