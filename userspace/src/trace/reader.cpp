// SPDX-License-Identifier: GPL-2.0-or-later
#include "trace/reader.h"

#include "trace/format.h"

#include <algorithm>

namespace gc::trace {
namespace {

class Reader {
  public:
    explicit Reader(std::span<const std::byte> bytes) : all_(bytes), rest_(bytes) {}

    Result<Trace> parse();

  private:
    /// An error at the offset of the item that was read last.
    template <typename... Args>
    Unexpected unlike(fmt::format_string<Args...> format, Args&&... args) const {
        return fail(ErrorKind::protocol, "offset {}: expected {}", item_,
                    fmt::format(format, std::forward<Args>(args)...));
    }

    void begin_item() { item_ = all_.size() - rest_.size(); }
    Result<std::span<const std::byte>> take(std::size_t length, std::string_view what);
    Result<std::uint32_t> u32(std::string_view what);
    /// Reads a varint and checks its range.
    Result<std::uint64_t> number(std::string_view what, std::uint64_t min, std::uint64_t max);

    Result<void> header();
    Result<Block> block();
    Result<Epoch> epoch();
    Result<void> run(Epoch& epoch, Last& last);
    Result<void> attributes(Last& last);
    Result<void> end();

    std::span<const std::byte> all_;
    std::span<const std::byte> rest_;
    std::size_t item_ = 0;
    Trace trace_;
    std::uint64_t pages_ = 0;
};

Result<std::span<const std::byte>> Reader::take(std::size_t length, std::string_view what) {
    begin_item();
    if (rest_.size() < length)
        return unlike("{} of {} bytes, but the file ends after {}", what, length, rest_.size());
    const auto taken = rest_.first(length);
    rest_ = rest_.subspan(length);
    return taken;
}

Result<std::uint32_t> Reader::u32(std::string_view what) {
    GC_TRY(const auto bytes, take(4, what));
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= std::to_integer<std::uint32_t>(bytes[i]) << 8 * i;
    return value;
}

Result<std::uint64_t> Reader::number(std::string_view what, std::uint64_t min, std::uint64_t max) {
    begin_item();
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (rest_.empty())
            return unlike("{}, but the file ends", what);
        const auto byte = std::to_integer<std::uint64_t>(rest_.front());
        rest_ = rest_.subspan(1);
        if (shift == 63 && byte > 1)
            return unlike("{}, found a number of more than 64 bits", what);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    if (value < min || value > max)
        return unlike("{} from {} to {}, found {}", what, min, max, value);
    return value;
}

Result<Block> Reader::block() {
    Block block;
    GC_TRY(const std::uint64_t length, number("the length of a RAM block's name", 1, max_name));
    GC_TRY(const auto name, take(length, "a RAM block's name"));
    block.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    const auto printable = [](char letter) { return letter >= ' ' && letter <= '~'; };
    if (!std::ranges::all_of(block.name, printable))
        return unlike("a RAM block's name in printable ASCII");
    for (const Block& other : trace_.header.blocks)
        if (other.name == block.name)
            return unlike("RAM blocks with different names, found '{}' twice", block.name);
    constexpr std::uint64_t page = std::uint64_t{1} << page_shift;
    GC_TRY(block.bytes, number("a RAM block's size", page, (max_pages - pages_) << page_shift));
    if (block.bytes % page != 0)
        return unlike("a RAM block's size that is a multiple of {}, found {}", page, block.bytes);
    GC_TRY(block.page_size, number("a page size", page, page << max_order));
    if ((block.page_size & (block.page_size - 1)) != 0)
        return unlike("a page size that is a power of two, found {}", block.page_size);
    return block;
}

Result<void> Reader::header() {
    GC_TRY(const auto start, take(magic.size(), "the magic 'gctrace\\n'"));
    if (!std::ranges::equal(start, std::as_bytes(std::span(magic))))
        return unlike("the magic 'gctrace\\n' of an access trace, found something else");
    GC_TRY(const std::uint32_t found, u32("the format's version"));
    if (found != version)
        return fail(ErrorKind::unsupported,
                    "offset {}: expected version {} of the trace format, found {}; use the gcctl "
                    "that recorded it",
                    item_, version, found);
    GC_TRY(const std::uint32_t mode, u32("the mode"));
    if (mode != static_cast<std::uint32_t>(Mode::order) &&
        mode != static_cast<std::uint32_t>(Mode::age))
        return unlike("mode 1 (order) or 2 (age), found {}", mode);
    trace_.header.mode = static_cast<Mode>(mode);
    GC_TRY(trace_.header.interval_us, number("the interval in us", 0, max_us));
    GC_TRY(const std::uint64_t blocks, number("the number of RAM blocks", 1, max_blocks));
    for (std::uint64_t i = 0; i < blocks; ++i) {
        GC_TRY(Block next, block());
        pages_ += next.pages();
        trace_.header.blocks.push_back(std::move(next));
    }
    return {};
}

Result<void> Reader::attributes(Last& last) {
    GC_TRY(const std::uint64_t word,
           number("a run's kind and order", 1, std::uint64_t{max_order} << kind_bits | 4));
    const std::uint64_t kind = word & ((1U << kind_bits) - 1);
    if (kind < 1 || kind > 4)
        return unlike("a kind from 1 to 4, found {}", kind);
    last.kind = static_cast<AccessKind>(kind);
    last.order = static_cast<std::uint8_t>(word >> kind_bits);
    GC_TRY(const std::uint64_t vcpu, number("a vCPU's number + 1", 0, UINT32_MAX));
    last.vcpu = static_cast<std::uint32_t>(vcpu) - 1;
    return {};
}

Result<void> Reader::run(Epoch& epoch, Last& last) {
    GC_TRY(const std::uint64_t difference, number("a run's page", 0, UINT64_MAX));
    const std::uint64_t page = last.next_page + unzigzag(difference);
    if (page >= pages_)
        return unlike("a page below {}, found {}", pages_, page);
    GC_TRY(const std::uint64_t word, number("a run's length", 2, pages_ << 1 | 1));
    const std::uint64_t length = word >> 1;
    const std::size_t length_at = item_;
    if ((word & 1) != 0)
        GC_CHECK(attributes(last));
    if (length > (pages_ - page) >> last.order) {
        item_ = length_at;
        return unlike("a run that ends at page {}, found {} times {} pages from page {}", pages_,
                      length, std::uint64_t{1} << last.order, page);
    }
    GC_TRY(const std::uint64_t later, number("a time in us", 0, epoch.length_us - last.time_us));
    last.time_us += later;
    last.next_page = page + (length << last.order);
    epoch.touches.push_back({page, length, last.time_us, last.vcpu, last.kind, last.order});
    return {};
}

Result<Epoch> Reader::epoch() {
    Epoch epoch;
    const std::uint64_t earliest =
        trace_.epochs.empty() ? 0 : trace_.epochs.back().begin_us + trace_.epochs.back().length_us;
    GC_TRY(epoch.begin_us, number("an epoch's begin in us", earliest, max_us));
    GC_TRY(epoch.length_us, number("an epoch's length in us", 0, max_us - epoch.begin_us));
    GC_TRY(epoch.dropped, number("the number of lost accesses", 0, UINT64_MAX));
    GC_TRY(epoch.unresolved, number("the number of unresolved accesses", 0, UINT64_MAX));
    GC_TRY(const std::uint64_t runs, number("the number of runs", 0, pages_));
    Last last;
    for (std::uint64_t i = 0; i < runs; ++i)
        GC_CHECK(run(epoch, last));
    return epoch;
}

Result<void> Reader::end() {
    GC_TRY(const std::uint64_t epochs, number("the number of epochs", 0, UINT64_MAX));
    if (epochs != trace_.epochs.size())
        return unlike("{} epochs, the number in the trace, found {}", trace_.epochs.size(), epochs);
    begin_item();
    if (!rest_.empty())
        return unlike("the end of the file, found {} more bytes", rest_.size());
    return {};
}

Result<Trace> Reader::parse() {
    GC_CHECK(header());
    for (;;) {
        GC_TRY(const auto bytes, take(1, "an epoch or the end mark"));
        switch (static_cast<Tag>(bytes.front())) {
        case Tag::epoch: {
            GC_TRY(Epoch next, epoch());
            trace_.epochs.push_back(std::move(next));
            break;
        }
        case Tag::end:
            GC_CHECK(end());
            return std::move(trace_);
        default:
            return unlike("'E' (an epoch) or 'Z' (the end), found 0x{:02x}",
                          std::to_integer<unsigned>(bytes.front()));
        }
    }
}

}  // namespace

Result<Trace> parse(std::span<const std::byte> bytes) {
    return Reader(bytes).parse();
}

}  // namespace gc::trace
