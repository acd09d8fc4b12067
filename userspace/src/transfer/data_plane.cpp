// SPDX-License-Identifier: GPL-2.0-or-later
#include "transfer/data_plane.h"

#include "util/guarded.h"

namespace gc::transfer {

Result<std::unique_ptr<DataPlane>> DataPlane::create(DataPlaneSockets sockets,
                                                     image::SourceImage image,
                                                     DataPlaneOptions options,
                                                     std::vector<capture::BlockRecords> guide) {
    GC_TRY(Waker notices, Waker::create());
    GC_TRY(Waker wake_relay, Waker::create());
    GC_TRY(Waker wake_guide, Waker::create());
    GC_TRY(Waker wake_bulk, Waker::create());
    GC_TRY(Waker wake_zeros, Waker::create());
    return std::unique_ptr<DataPlane>(
        new DataPlane(std::move(sockets), std::move(image), std::move(options), std::move(guide),
                      {std::move(notices), std::move(wake_relay), std::move(wake_guide),
                       std::move(wake_bulk), std::move(wake_zeros)}));
}

DataPlane::DataPlane(DataPlaneSockets sockets, image::SourceImage image, DataPlaneOptions options,
                     std::vector<capture::BlockRecords> guide, std::array<Waker, 5> wakers)
    : keep_deliveries_(options.keep_deliveries), tell_zeros_(options.tell_zeros),
      image_(std::move(image)), notices_(std::move(wakers[0])), wake_relay_(std::move(wakers[1])),
      wake_guide_(std::move(wakers[2])), wake_bulk_(std::move(wakers[3])),
      wake_zeros_(std::move(wakers[4])), source_(std::move(sockets.source)),
      preempt_(std::move(sockets.preempt)),
      sender_(sockets.channels, options.marks, options.bandwidth, wake_bulk_), asked_(wake_relay_),
      origin_(kept_, source_, match_, wake_relay_), next_(options.next_pages, wake_bulk_),
      relay_(
          source_, preempt_, sender_, image_, asked_, kept_, origin_, notices_,
          [this] {
              wake_guide_.signal();
              wake_bulk_.signal();
              wake_zeros_.signal();
          },
          wake_relay_,
          [this](const auto& blocks, std::uint32_t section) { return on_blocks(blocks, section); },
          options.guide_wait),
      server_(sender_, source_, asked_, next_, kept_, origin_, notices_, wake_guide_),
      guide_(sender_, std::move(guide), match_, wake_guide_, wake_bulk_),
      bulk_(
          sender_, image_, guide_, next_, options.hold_background, [this] { relay_.send_rest(); },
          wake_bulk_),
      zeros_(sender_, image_) {
    sender_.compress(options.compress, options.compressions, options.frame_urgent);
    if (options.guide_requests)
        origin_.expect_requests();
}

void DataPlane::start() {
    start_thread([this] { return relay_.run(); });
    start_thread([this] { return server_.run(ledger_); }, Reads::destination);
    start_thread([this] { return push_guide(); });
    start_thread([this] { return push_bulk(); });
    if (tell_zeros_)
        start_thread([this] { return tell_zeros(); });
}

void DataPlane::start_thread(std::function<Result<void>()> body, Reads from) {
    threads_.emplace_back([this, from, body = std::move(body)] {
        if (const Result<void> done = guarded(body); !done && !stopping_)
            notices_.post(
                Broken{.error = done.error(), .by_destination = from == Reads::destination});
    });
}

ledger::Ledger* DataPlane::await_switch_over(const Waker& wake) {
    // The relay signals `wake` when it has sealed the ledger.
    for (; !stopping_; wake.wait(std::chrono::seconds(1)))
        if (ledger::Ledger* ledger = ledger_.load(std::memory_order_acquire);
            ledger != nullptr && ledger->sealed())
            return ledger;
    return nullptr;
}

Result<void> DataPlane::push_guide() {
    ledger::Ledger* ledger = await_switch_over(wake_guide_);
    return ledger == nullptr ? Result<void>{} : guide_.run(*ledger);
}

Result<void> DataPlane::push_bulk() {
    ledger::Ledger* ledger = await_switch_over(wake_bulk_);
    if (ledger == nullptr)
        return {};
    GC_CHECK(bulk_.run(*ledger));
    if (!stopping_)
        notices_.post(AllSent{});
    return {};
}

Result<void> DataPlane::tell_zeros() {
    ledger::Ledger* ledger = await_switch_over(wake_zeros_);
    return ledger == nullptr ? Result<void>{} : zeros_.run(*ledger);
}

void DataPlane::stop() {
    if (stopping_.exchange(true))
        return;
    guide_.stop();
    bulk_.stop();
    zeros_.stop();
    wake_zeros_.signal();
    relay_.stop();
    sender_.shut_down();
    for (std::thread& thread : threads_)
        thread.join();
    threads_.clear();
    sender_.close();
}

Result<void> DataPlane::free_source() {
    stream::Buffer pong;
    stream::append_pong(pong, stream::package_loaded_ping);
    return source_.write_unless_ended(pong);
}

Result<void> DataPlane::wake_source() {
    const ledger::Ledger::Block& block = ledger_.load()->blocks().front();
    stream::Buffer request;
    stream::append_page_request(request, block.name, 0,
                                static_cast<std::uint32_t>(block.granule * page_size));
    return source_.write_unless_ended(request);
}

Result<ledger::Ledger*> DataPlane::on_blocks(const stream::RamBlockList& blocks,
                                             std::uint32_t ram_section) {
    if (ledger_storage_)
        return fail(ErrorKind::protocol, "the source QEMU announced its RAM blocks twice");
    std::vector<ledger::Ledger::Block> wanted;
    std::vector<std::size_t> image_index;
    for (const auto& block : blocks.blocks) {
        wanted.push_back({.name = std::string(block.name),
                          .pages = block.length / page_size,
                          .granule = block.page_size.value_or(page_size) / page_size});
        if (wanted.back().granule == 0 || wanted.back().pages % wanted.back().granule != 0)
            return fail(
                ErrorKind::protocol,
                "expected whole pages, RAM block '{}' has 0x{:x} bytes in pages of 0x{:x} bytes",
                block.name, block.length, *block.page_size);
        image_index.push_back(image_.find(block.name));
        const std::size_t image = image_index.back();
        if (image != image::SourceImage::none && image_.blocks()[image].length != block.length)
            return fail(ErrorKind::protocol,
                        "RAM block '{}' has 0x{:x} bytes in the stream but 0x{:x} bytes in memory",
                        block.name, block.length, image_.blocks()[image].length);
    }
    for (const image::ImageBlock& block : image_.blocks())
        if (std::ranges::find(wanted, block.name, &ledger::Ledger::Block::name) == wanted.end())
            return fail(ErrorKind::protocol, "RAM block '{}' is not in the source QEMU's stream",
                        block.name);
    ledger_storage_ = std::make_unique<ledger::Ledger>(std::move(wanted));
    if (keep_deliveries_)
        ledger_storage_->keep_deliveries();
    match_.begin(ledger_storage_->blocks());
    sender_.begin(*ledger_storage_, image_, std::move(image_index), ram_section);
    ledger_.store(ledger_storage_.get(), std::memory_order_release);
    return ledger_storage_.get();
}

ledger::ClassCounts DataPlane::pages() const {
    const ledger::Ledger* ledger = ledger_.load(std::memory_order_acquire);
    if (ledger == nullptr)
        return {};
    ledger::ClassCounts counts = ledger->counts();
    counts.zero = relay_.precopy_zeros() + sender_.zero_pages();
    return counts;
}

ledger::ClassCounts DataPlane::bytes() const {
    ledger::ClassCounts counts;
    // Of what shrank, some was no page.
    const std::uint64_t precopy = relay_.precopy_bytes();
    counts.add(ledger::PageClass::precopy, precopy - std::min(precopy, sender_.relay_saved()));
    for (const ledger::PageClass page_class : ledger::page_classes)
        counts.add(page_class, sender_.bytes(page_class));
    return counts;
}

}  // namespace gc::transfer
